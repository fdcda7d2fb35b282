"""The steps of reinforcement learning."""
