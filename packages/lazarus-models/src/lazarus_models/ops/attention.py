"""Scaled dot-product attention: every attention layer calls this one function.

B = rows, N = tokens a row, M = keys a row, H = query heads, K = key/value heads, D = width of a head

A mask computes N * N scores a row and discards most of them. On a CPU, attention over packed rows is computed segment
by segment (`lazarus_models.ops.cpu.segment_attention`). On a GPU one fused kernel with a mask is faster.
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
from typing import Any

from jaxtyping import Float

from lazarus_models.backend import mx, on_cpu
from lazarus_models.ops.cpu.segment_attention import attend_runs


def attention(
    queries: Float[mx.array, "B H N D"],
    keys: Float[mx.array, "B K M D"],
    values: Float[mx.array, "B K M D"],
    *,
    scale: float,
    mask: Any,
    sinks: mx.array | None = None,
    runs: list[list[tuple[int, int]]] | None = None,
) -> Float[mx.array, "B H N D"]:
    """Softmax attention.

    Args:
        queries: Queries, float, (B, H, N, D); H is a multiple of K.
        keys: Keys, float, (B, K, M, D).
        values: Values, float, (B, K, M, D).
        scale: Factor of the scores.
        mask: Keys that each query sees: bool or additive, broadcast to (B, H, N, M); `"causal"`; or None for all keys.
        sinks: A score a head, float, (H,), that takes a share of the softmax and adds nothing to the output.
        runs: Half-open token ranges of each row's segments. If given, attention is causal within each range, and `mask`
            is ignored.
    """
    if runs is not None:
        return attend_runs(queries, keys, values, runs, scale, sinks)
    if sinks is None and _shares_keys(queries, keys, mask):
        # MLX multiplies head by head on a CPU. Heads with the same keys, computed as if they were tokens of one head,
        # take 0.5 to 0.7 of the time.
        rows, heads, _, width = queries.shape
        grouped = mx.reshape(queries, (rows, keys.shape[1], -1, width))  # (B, K, H / K, D)
        gathered = mx.fast.scaled_dot_product_attention(grouped, keys, values, scale=scale, mask=mask)
        return mx.reshape(gathered, (rows, heads, 1, width))
    return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask, sinks=sinks)


def _shares_keys(queries: mx.array, keys: mx.array, mask: Any) -> bool:
    """Whether a row has one new token, fewer key heads than query heads, and one mask for all heads, on a CPU."""
    one_for_all = mask is None or (isinstance(mask, mx.array) and (mask.ndim < 3 or mask.shape[-3] == 1))
    return queries.shape[2] == 1 and queries.shape[1] > keys.shape[1] and one_for_all and on_cpu()
