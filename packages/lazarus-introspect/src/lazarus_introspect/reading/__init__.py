"""What a model computes: logit lens, direct logit attribution, attention patterns and heads."""

from lazarus_core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
