"""RMSNorm (arXiv 1910.07467) whose sum of squares loses nothing on a CPU.

MLX adds the squares of a row one after another on a CPU. In the models of the Llama kind the first token has one entry of 25,000
among 576: the sum is then wrong by up to 1e-6 of its value, and the logits of SmolLM2-135M by 5e-5. Sums of short groups are as
exact as float32 allows, and take less time from 40 rows on.
"""

from lazarus_models.backend import mx, on_cpu

_GROUP = 32
_SHORTEST = 512
"""Rows below this length are summed by MLX: their error is small, and a group is no gain in time."""


def rms_norm(x: mx.array, weight: mx.array | None, eps: float) -> mx.array:
    """The rows x / sqrt(mean(x^2) + eps) * weight over the last axis, of the shape and type of `x`.

    Args:
        x: Float, (..., D).
        weight: Gain, (D,); None for none.
        eps: Added to the mean of the squares, above 0.
    """
    width = x.shape[-1]
    if not on_cpu() or x.dtype != mx.float32 or width < _SHORTEST or width % _GROUP:
        return mx.fast.rms_norm(x, weight, eps)
    groups = mx.unflatten(mx.square(x), -1, (-1, _GROUP))
    mean = groups.sum(axis=-1).sum(axis=-1, keepdims=True) / width
    normed = x * mx.rsqrt(mean + eps)
    return normed if weight is None else normed * weight
