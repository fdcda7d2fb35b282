"""Encoded samples and batches."""
