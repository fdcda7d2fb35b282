"""Attention masks for packed rows, without touching the models.

B = rows, N = tokens a row, H = heads, D = width of a head

mlx-lm's models take no mask but ask `cache[i].make_mask(...)`. A cache that keeps nothing and answers with a
block-diagonal causal mask gives every segment of a row the logits, loss and gradients it has alone (1e-5). RoPE is
relative, so positions need no reset.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from jaxtyping import Bool, Float, Int

from lazarus_models.backend import mx, nn
from lazarus_models.families import family_of
from lazarus_models.huggingface import LoadedModel
from lazarus_models.parameters import layer_count


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
    same = segment_ids[:, :, None] == segment_ids[:, None, :]  # (B, N, N)
    return (same & seen)[:, None]


class SegmentCache:
    """Looks like mlx-lm's key/value cache, keeps nothing, and masks by segment."""

    offset = 0

    def __init__(self, segment_ids: Int[mx.array, "B N"]) -> None:
        self._segment_ids = segment_ids
        self._masks: dict[int | None, mx.array] = {}

    def update_and_fetch(
        self, keys: Float[mx.array, "B H N D"], values: Float[mx.array, "B H N D"]
    ) -> tuple[mx.array, mx.array]:
        """The keys and values of this row alone."""
        return keys, values

    def make_mask(self, N: int, return_array: bool = True, window_size: int | None = None) -> mx.array:
        """The mask of a layer; layers with the same window share it."""
        if window_size not in self._masks:
            self._masks[window_size] = segment_mask(self._segment_ids, window_size)
        return self._masks[window_size]


def segment_caches(model: nn.Module, segment_ids: Int[mx.array, "B N"]) -> list[SegmentCache]:
    """One cache a layer: `model(ids, cache=segment_caches(model, segment_ids))` attends within segments."""
    return [SegmentCache(segment_ids)] * layer_count(model)


def supports_packing(lm: LoadedModel) -> bool:
    """Whether every layer of the model honours segment boundaries; false for layers with a state of their own."""
    return family_of(lm.family).supports_packing
