"""The folder of a run: layout, logs, checkpoints, proofs, reports."""
