"""Objectives of reinforcement learning: what GRPO and PPO share, and one file for each."""
