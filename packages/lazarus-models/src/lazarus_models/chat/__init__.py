"""Conversations: history, function calling, the pipeline object."""
