"""Checks before the first step. They refuse runs with inputs that do not fit together."""
