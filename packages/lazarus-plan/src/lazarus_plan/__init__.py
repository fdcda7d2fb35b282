"""The lockfile for training runs: plan batches once, offline; fingerprint, verify, shard and replay them."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
