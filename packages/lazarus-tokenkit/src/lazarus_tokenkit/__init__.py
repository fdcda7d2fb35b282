"""Text to token ids and loss masks: samples, tokenizers, fingerprints, length caches."""
