"""Measure training setups and search for the fastest that fits."""
