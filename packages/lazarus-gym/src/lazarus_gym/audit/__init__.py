"""Audits of tasks and verifiers: is the right answer paid, is any other, and is anything executed."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
