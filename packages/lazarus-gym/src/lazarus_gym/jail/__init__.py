"""A worker process for verifiers of other people: no network, no processes, limits of time and memory."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
