"""Losses that objectives share."""
