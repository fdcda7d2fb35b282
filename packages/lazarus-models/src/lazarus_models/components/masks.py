"""Who attends to whom, as arrays.

B = rows, N = tokens a row, M = keys
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from typing import Any, NamedTuple

from jaxtyping import Bool, Int

from lazarus_models.backend import mx


class Reach(NamedTuple):
    """How far back a layer's tokens see."""

    window: int | None = None
    """Themselves and the `window - 1` tokens before them; None, all."""
    chunk: int | None = None
    """Tokens of their own chunk of this many positions; None, all."""


def layer_mask(tokens: int, cache: Any, reach: Reach) -> Any:
    """The mask of every layer with one reach: an array, `"causal"`, or None where a token sees every key.

    Args:
        tokens: New ones in this call.
        cache: Of the first such layer; its own masks know what it kept. None for none.
        reach: What such a layer sees.
    """
    if reach.chunk is not None:
        return chunk_mask(tokens, cache, reach.chunk)
    if cache is not None:
        return cache.make_mask(tokens, return_array=False, window_size=reach.window)
    if tokens == 1:
        return None
    return "causal" if reach.window is None or tokens <= reach.window else window_mask(tokens, reach.window)


def window_mask(tokens: int, window: int) -> Bool[mx.array, "N N"]:
    """A token sees itself and the `window - 1` tokens before it.

    >>> window_mask(3, 2).astype(mx.int32).tolist()
    [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    """
    position = mx.arange(tokens)
    distance = position[:, None] - position
    return (distance >= 0) & (distance < window)


def chunk_mask(tokens: int, cache: Any, chunk: int) -> Bool[mx.array, "*B N M"]:
    """A token sees itself and earlier tokens of its own chunk.

    Args:
        tokens: New ones.
        cache: How many there were before, and in a batch how much padding each row begins with.
        chunk: Positions a chunk.

    >>> chunk_mask(3, None, 2).astype(mx.int32).tolist()
    [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    """
    if cache is None or isinstance(cache.offset, int):
        before: int = 0 if cache is None else cache.offset
        query, key = mx.arange(before, before + tokens)[:, None], mx.arange(before + tokens)
        return (key <= query) & (key // chunk == query // chunk)
    offset, padding = cache.offset, cache.left_padding  # (B,)
    query = offset[:, None, None, None] + mx.arange(tokens)[:, None]
    key = mx.arange(cache.size() + tokens) - padding[:, None, None, None]
    return (key >= 0) & (key <= query) & (key // chunk == query // chunk)


def segment_mask(segment_ids: Int[mx.array, "B N"], window_size: int | None = None) -> Bool[mx.array, "B 1 N N"]:
    """Who attends to whom: a token to itself and to earlier tokens with the same segment id.

    Args:
        segment_ids: A label a token. Padding is a segment like any other, by custom 0: it attends to padding only, so
            that no row of the mask is empty, and no real token attends to it.
        window_size: A token sees itself and the `window_size - 1` tokens before it; None, all of them.
    """
    position = mx.arange(segment_ids.shape[1])
    distance = position[:, None] - position[None, :]  # (N, N), query minus key
    seen = distance >= 0
    if window_size is not None:
        seen = seen & (distance < window_size)
    return (_same(segment_ids) & seen)[:, None]


def bidirectional_mask(segment_ids: Int[mx.array, "B N"]) -> Bool[mx.array, "B 1 N N"]:
    """A token sees every token with its segment id, later ones too: what masked diffusion reads."""
    return _same(segment_ids)[:, None]


def prefix_mask(tokens: int, lengths: Int[mx.array, " B"]) -> Bool[mx.array, "B 1 N N"]:
    """Prefix tokens see all of the prefix, the tokens after it what is before them.

    >>> prefix_mask(3, mx.array([2])).astype(mx.int32)[0, 0].tolist()
    [[1, 1, 0], [1, 1, 0], [1, 1, 1]]
    """
    position = mx.arange(tokens)
    causal = position[:, None] >= position
    return (causal | (position < lengths[:, None, None]))[:, None]


def _same(segment_ids: mx.array) -> mx.array:
    return segment_ids[:, :, None] == segment_ids[:, None, :]  # (B, N, N)
