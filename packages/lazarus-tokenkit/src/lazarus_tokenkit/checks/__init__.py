"""Checks of a tokenizer and its chat template. Each check has a number, a severity and evidence."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
