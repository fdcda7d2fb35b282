"""Weights and configurations of models on disk: Hugging Face directories, GGUF, quantized layers."""
