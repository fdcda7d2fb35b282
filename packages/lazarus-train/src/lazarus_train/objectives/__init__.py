"""Objectives: pure functions from arrays to a scalar. What is minimised is written here, once."""
