"""A number over the checkpoints of a training run: where it jumps, and which rows were trained there."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
