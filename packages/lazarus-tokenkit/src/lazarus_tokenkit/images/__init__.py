"""Images as token ids: quantised grey levels with a label, readers of image files, and PNG files."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
