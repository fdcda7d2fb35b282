"""Chat templates: a registry of named ones, and a sandbox that renders any Jinja source."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
