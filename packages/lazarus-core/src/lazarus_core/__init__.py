"""Shared foundations of all Lazarus packages: errors, terminal, atomic writes, strict JSON, HTML pages."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
