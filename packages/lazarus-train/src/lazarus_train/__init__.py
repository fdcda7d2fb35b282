"""Trainers that obey the batch plan: enforced, audited, resumable to the bit."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
