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

_half_precision_calls = 0
"""Calls of the fused kernel in half precision: at the first, MLX decides on cuDNN for the whole process."""


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
    if queries.dtype != mx.float32:
        global _half_precision_calls
        _half_precision_calls += 1
    if sinks is None and _shares_keys(queries, keys, mask):
        # MLX multiplies head by head on a CPU. Heads with the same keys, computed as if they were tokens of one head,
        # take 0.5 to 0.7 of the time.
        rows, heads, _, width = queries.shape
        grouped = mx.reshape(queries, (rows, keys.shape[1], -1, width))  # (B, K, H / K, D)
        gathered = mx.fast.scaled_dot_product_attention(grouped, keys, values, scale=scale, mask=mask)
        return mx.reshape(gathered, (rows, heads, 1, width))
    return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask, sinks=sinks)


def has_attended_in_half_precision() -> bool:
    """Whether `attention` was called with bfloat16 or float16 in this process, so that MLX may have chosen its kernel."""
    return _half_precision_calls > 0


def attention_scores(
    queries: Float[mx.array, "B H N D"],
    keys: Float[mx.array, "B K M D"],
    *,
    scale: float,
    mask: Any,
    runs: list[list[tuple[int, int]]] | None = None,
) -> Float[mx.array, "B H N M"]:
    """The scores of `attention` in float32, minus infinity for keys that a query does not see.

    Args:
        queries: Queries, float, (B, H, N, D); H is a multiple of K.
        keys: Keys, float, (B, K, M, D).
        scale: Factor of the scores.
        mask: As in `attention`.
        runs: As in `attention`.
    """
    rows, heads, tokens, width = queries.shape
    shared, seen = keys.shape[1:3]
    scaled = mx.reshape(queries.astype(mx.float32) * scale, (rows, shared, -1, width))  # heads of a group as one
    scores = mx.reshape(scaled @ mx.swapaxes(keys.astype(mx.float32), -1, -2), (rows, heads, tokens, seen))
    if runs is not None:
        mask = mx.array([[first for first, last in row for _ in range(first, last)] for row in runs])  # (B, N)
        mask = (mask[:, None, :, None] == mask[:, None, None]) & mx.tri(tokens).astype(mx.bool_)
    elif isinstance(mask, str):  # "causal": the last query sees every key
        mask = mx.tri(tokens, seen, seen - tokens).astype(mx.bool_)
    if mask is None:
        return scores
    return mx.where(mask, scores, -mx.inf) if mask.dtype == mx.bool_ else scores + mask


def attention_pattern(
    scores: Float[mx.array, "B H N M"], sinks: Float[mx.array, " H"] | None = None
) -> Float[mx.array, "B H N M"]:
    """The shares of the keys in the output of `attention`, float32; with sinks, a row sums to less than 1.

    Args:
        scores: Result of `attention_scores`.
        sinks: As in `attention`.
    """
    if sinks is None:
        return mx.softmax(scores, axis=-1, precise=True)
    sink = mx.broadcast_to(sinks[:, None, None].astype(scores.dtype), (*scores.shape[:-1], 1))
    return mx.softmax(mx.concatenate([scores, sink], axis=-1), axis=-1, precise=True)[..., :-1]


def weighted_values(
    pattern: Float[mx.array, "B H N M"], values: Float[mx.array, "B K M D"]
) -> Float[mx.array, "B H N D"]:
    """The output of `attention` with a given pattern, in the dtype of the values.

    Args:
        pattern: Share of each key, float, (B, H, N, M).
        values: Values, float, (B, K, M, D).
    """
    rows, heads, tokens, seen = pattern.shape
    shared = values.shape[1]
    grouped = mx.reshape(pattern, (rows, shared, -1, seen))
    return mx.reshape(grouped @ values.astype(pattern.dtype), (rows, heads, tokens, -1)).astype(values.dtype)


def _shares_keys(queries: mx.array, keys: mx.array, mask: Any) -> bool:
    """Whether a row has one new token, fewer key heads than query heads, and one mask for all heads, on a CPU."""
    one_for_all = mask is None or (isinstance(mask, mx.array) and (mask.ndim < 3 or mask.shape[-3] == 1))
    return queries.shape[2] == 1 and queries.shape[1] > keys.shape[1] and one_for_all and on_cpu()
