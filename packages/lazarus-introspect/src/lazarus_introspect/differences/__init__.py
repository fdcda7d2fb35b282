"""Differences of two models: their weights, and their activations on the same tokens."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
