"""Runs that end before a limit of time."""
