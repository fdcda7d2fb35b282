"""Checks before the first step. A run that cannot be right is refused here."""
