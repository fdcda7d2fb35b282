"""CPU implementations: NumPy views of MLX arrays, attention by segments, and the report of `doctor`."""
