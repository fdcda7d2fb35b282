"""Recipes: stages from raw documents to a model, in one file, with one lock."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
