"""Checks of plans, locks and proofs: against themselves, against data, against samples."""
