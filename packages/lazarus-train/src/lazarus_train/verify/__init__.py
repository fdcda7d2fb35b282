"""Verification of a run: from the trained weights back to the rows."""
