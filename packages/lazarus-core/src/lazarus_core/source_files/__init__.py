"""Source files: several joined into one, and what Git leaves in files that it could not merge."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
