"""Probing: linear probes with baselines, directions, clusters, selective neurons, arithmetic and calibration."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
