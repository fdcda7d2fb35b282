"""Trainers that follow a batch plan: verified inputs, an audit log, and bitwise-identical resume."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
