"""Measure samples and write length caches."""
