"""Measure training set-ups and search for the fastest that fits."""
