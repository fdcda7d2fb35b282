"""Analyses of prompts: settings, results with their provenance, and the classes that run them."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
