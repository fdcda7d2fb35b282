"""Objectives: one file each. Objectives of other packages may use the names exported here."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
