"""Attention masks: True where a token sees a key.

B = rows, N = tokens a row, M = keys
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
from typing import Any, NamedTuple

from jaxtyping import Bool, Int

from lazarus_models.backend import mx


class Reach(NamedTuple):
    """Which earlier tokens a layer's tokens see."""

    window: int | None = None
    """Tokens that a token sees, itself included; None for all."""
    chunk: int | None = None
    """Positions of a chunk: a token sees earlier tokens of its own chunk. None for all tokens."""


def layer_mask(tokens: int, cache: Any, reach: Reach) -> Any:
    """The mask of all layers with one reach: an array, `"causal"`, or None if every token sees every key.

    Args:
        tokens: New tokens of each row.
        cache: Cache of the first of these layers, which knows the keys that it stores. None for no cache.
        reach: Which earlier tokens the layers see.
    """
    if reach.chunk is not None:
        return chunk_mask(tokens, cache, reach.chunk)
    if cache is not None:
        return cache.make_mask(tokens, return_array=False, window_size=reach.window)
    if tokens == 1:
        return None
    return "causal" if reach.window is None or tokens <= reach.window else window_mask(tokens, reach.window)


def causal_mask(
    tokens: int,
    before: int,
    *,
    window: int | None = None,
    left_padding: Int[mx.array, " B"] | None = None,
) -> Bool[mx.array, "*B N M"]:
    """A new token sees itself and the tokens before it, (N, M), or (B, 1, N, M) with padding.

    Args:
        tokens: New tokens N.
        before: Cached tokens; M = before + N.
        window: Tokens that a token sees, itself included; None for all.
        left_padding: First real place of each row, int32, (B,).

    >>> causal_mask(2, 1).astype(mx.int32).tolist()
    [[1, 1, 0], [1, 1, 1]]
    """
    key = mx.arange(before + tokens)
    query = key[before:, None]
    seen = query >= key
    if window is not None:
        seen = seen & (query < key + window)
    return seen if left_padding is None else seen & (left_padding[:, None, None, None] <= key)


def window_mask(tokens: int, window: int) -> Bool[mx.array, "N N"]:
    """A token sees itself and the `window - 1` tokens before it.

    Args:
        tokens: Tokens of a row N.
        window: Tokens that a token sees, itself included.

    >>> window_mask(3, 2).astype(mx.int32).tolist()
    [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    """
    position = mx.arange(tokens)
    distance = position[:, None] - position
    return (distance >= 0) & (distance < window)


def chunk_mask(tokens: int, cache: Any, chunk: int) -> Bool[mx.array, "*B N M"]:
    """A token sees itself and earlier tokens of its own chunk.

    Args:
        tokens: New tokens of each row N.
        cache: Cache of the layer: the number of tokens before, and in a batch the padding of each row. None for no cache.
        chunk: Positions of a chunk.

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
    """A token sees itself and earlier tokens with its segment id.

    Args:
        segment_ids: Label of each token, integer, (B, N). Padding is a segment of its own, usually 0: it sees padding
            only, so that no row of the mask is empty, and no real token sees it.
        window_size: Tokens that a token sees, itself included; None for all.
    """
    position = mx.arange(segment_ids.shape[1])
    distance = position[:, None] - position[None, :]  # (N, N), query minus key
    seen = distance >= 0
    if window_size is not None:
        seen = seen & (distance < window_size)
    return (_same(segment_ids) & seen)[:, None]


def bidirectional_mask(segment_ids: Int[mx.array, "B N"]) -> Bool[mx.array, "B 1 N N"]:
    """A token sees every token with its segment id, later ones too, as masked diffusion needs.

    Args:
        segment_ids: Label of each token, integer, (B, N).
    """
    return _same(segment_ids)[:, None]


def prefix_mask(tokens: int, lengths: Int[mx.array, " B"]) -> Bool[mx.array, "B 1 N N"]:
    """Tokens of the prefix see the whole prefix; the tokens after it see themselves and earlier tokens.

    Args:
        tokens: Tokens of a row N.
        lengths: Tokens of each row's prefix, integer, (B,).

    >>> prefix_mask(3, mx.array([2])).astype(mx.int32)[0, 0].tolist()
    [[1, 1, 0], [1, 1, 0], [1, 1, 1]]
    """
    position = mx.arange(tokens)
    causal = position[:, None] >= position
    return (causal | (position < lengths[:, None, None]))[:, None]


def _same(segment_ids: mx.array) -> mx.array:
    return segment_ids[:, :, None] == segment_ids[:, None, :]  # (B, N, N)
