"""Text generation: sampling, batches, speculative decoding, masked diffusion, prompt caches."""
