"""Settings of commands: pydantic models filled from files, `--set` and options, with the source of each value."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
