"""LoRA adapters: layers, files, PEFT's format, the digest of their base model."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
