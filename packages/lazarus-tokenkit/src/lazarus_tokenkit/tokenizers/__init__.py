"""Tokenizers: loading, engines, formats."""
