"""Results: frozen numbers with their provenance and request, as JSON and as pictures."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
