"""Rewards: by name for the tasks of this package, and composed from a file for any data set."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
