"""The audit log: what a run trained on, as a chain of hashes."""
