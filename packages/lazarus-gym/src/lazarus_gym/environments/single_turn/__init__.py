"""Environments of one action: an answer, a call of a tool, a task of reasoning-gym."""
