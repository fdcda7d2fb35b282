"""Norms of the residual stream, of queries and of keys."""

from lazarus_models.backend import mx, nn
from lazarus_models.config.architecture import NormConfig
from lazarus_models.ops import rms_norm


class RMSNorm(nn.RMSNorm):
    """MLX's RMSNorm with an exact sum of squares on a CPU."""

    def __call__(self, x: mx.array) -> mx.array:
        return rms_norm(x, self.weight, self.eps)


class OnePlusRMSNorm(nn.Module):
    """RMSNorm that multiplies by 1 + weight, as Gemma stores it."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = mx.zeros((width,))
        self.eps = eps

    def __call__(self, x: mx.array) -> mx.array:
        return rms_norm(x, 1.0 + self.weight, self.eps)


def make_norm(config: NormConfig, width: int) -> nn.Module:
    """The norm that a config describes.

    Args:
        config: Kind, epsilon and bias.
        width: Size of the last axis.
    """
    if config.kind == "layer":
        return nn.LayerNorm(width, eps=config.eps, bias=config.bias)
    return OnePlusRMSNorm(width, config.eps) if config.one_plus else RMSNorm(width, eps=config.eps)
