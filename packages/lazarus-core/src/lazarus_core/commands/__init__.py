"""What every command has: `-h`, `-q`, near names, completion, headings, examples; and options that several commands share."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
