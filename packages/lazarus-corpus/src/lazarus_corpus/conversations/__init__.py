"""Conversations and preferences from the forms in which data sets publish them."""
