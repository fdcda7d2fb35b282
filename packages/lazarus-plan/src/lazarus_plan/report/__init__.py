"""Reports about plans for people and programs: pages, summaries, differences, SARIF."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
