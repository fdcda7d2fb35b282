"""Pictures of numbers: heatmaps, grids of heads, bars and lines; for the terminal, one HTML page, or PNG."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
