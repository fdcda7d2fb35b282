"""CPU implementations: NumPy views of MLX arrays, attention by segments, the BLAS."""
