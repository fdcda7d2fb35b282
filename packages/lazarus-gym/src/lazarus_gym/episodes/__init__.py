"""Episodes: puzzles played by a policy, and the files made of them."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
