"""Objectives: one file each. The names here are what an objective of another package may use."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
