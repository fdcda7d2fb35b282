"""Implementations of the `Tokenizer` protocol and converters of tokenizer formats."""
