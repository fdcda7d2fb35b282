"""Language models on MLX: load, save, adapt and generate in the Hugging Face layout."""
