"""What the model in training writes or draws at evaluations."""
