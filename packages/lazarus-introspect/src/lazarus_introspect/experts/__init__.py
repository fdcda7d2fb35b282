"""Experts of mixture-of-experts models: routing, balance, co-activation, specialisation, similarity."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
