"""Scaled dot-product attention: the one function that every attention layer calls.

B = rows, N = tokens a row, M = keys a row, H = query heads, K = key/value heads, D = width of a head

A mask computes N * N scores a row and throws most of them away. On a CPU, attention over packed rows is computed segment
by segment (`lazarus_models.ops.cpu.segment_attention`); on a GPU one fused kernel with a mask is faster.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from typing import Any

from jaxtyping import Float

from lazarus_models.backend import mx
from lazarus_models.components.caches import SegmentCache
from lazarus_models.ops.cpu.segment_attention import attend_runs


def attend(
    queries: Float[mx.array, "B H N D"],
    keys: Float[mx.array, "B K M D"],
    values: Float[mx.array, "B K M D"],
    *,
    cache: Any,
    scale: float,
    mask: Any,
    sinks: mx.array | None = None,
) -> Float[mx.array, "B H N D"]:
    """Softmax attention: the one place that every attention layer goes through."""
    if isinstance(cache, SegmentCache) and mask is None and cache.runs is not None:
        return attend_runs(queries, keys, values, cache.runs, scale, sinks)
    if _share_keys(queries, keys, mask) and sinks is None:
        rows, heads, _, width = queries.shape
        grouped = mx.reshape(queries, (rows, keys.shape[1], -1, width))  # (B, K, H / K, D)
        gathered = mx.fast.scaled_dot_product_attention(grouped, keys, values, scale=scale, mask=mask)
        return mx.reshape(gathered, (rows, heads, 1, width))
    return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask, sinks=sinks)


def _share_keys(queries: mx.array, keys: mx.array, mask: Any) -> bool:
    """Whether the heads of one token a row can be computed as the tokens of their key/value head are.

    MLX multiplies head by head on a CPU; the heads that share keys, taken together, need 0.5 to 0.7 of the time.
    """
    one_for_all = mask is None or (isinstance(mask, mx.array) and (mask.ndim < 3 or mask.shape[-3] == 1))
    shared = queries.shape[2] == 1 and queries.shape[1] > keys.shape[1]
    return shared and one_for_all and mx.default_device().type == mx.cpu
