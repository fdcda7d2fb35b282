"""Circuits: models whose circuit is known because their weights are written by hand, rates of detectors, graphs."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
