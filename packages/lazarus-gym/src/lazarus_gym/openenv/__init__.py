"""OpenEnv: clients of its WebSocket protocol, for any server that follows it."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
