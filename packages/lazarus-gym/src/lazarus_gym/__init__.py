"""Tasks with verifiers and environments for training by reinforcement."""
