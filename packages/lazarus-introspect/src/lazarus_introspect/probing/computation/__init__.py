"""Arithmetic in a model: accuracy by layer, directions of operands, commuted pairs."""
