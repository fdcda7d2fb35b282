"""Trainers that obey the batch plan: enforced, audited, resumable to the bit."""
