"""Observers of a run: progress, loggers."""
