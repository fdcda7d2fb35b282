"""Metrics of a tokenizer on a corpus. The head of each module states its formulas."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
