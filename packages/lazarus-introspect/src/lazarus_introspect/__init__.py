"""Looking inside language models on MLX."""
