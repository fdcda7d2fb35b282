"""Layers of the model, wrapped for training: noise, gradient checkpointing, memory."""
