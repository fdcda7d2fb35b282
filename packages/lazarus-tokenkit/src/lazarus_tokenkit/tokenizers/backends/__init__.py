"""Engines behind the `Tokenizer` protocol."""
