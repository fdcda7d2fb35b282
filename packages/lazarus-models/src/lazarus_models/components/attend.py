"""Attention of packed rows: segment by segment on a CPU, by mask on a GPU.

B = rows, N = tokens a row, M = keys a row, H = query heads, K = key/value heads, D = width of a head

Models take no mask but ask `cache[i].make_mask(...)`, as mlx-lm's do. A cache that keeps nothing and knows the segments
of its rows gives every segment the logits, loss and gradients it has alone (1e-5). RoPE is relative, so positions need
no reset.

A mask computes N * N scores a row and throws most of them away. On a CPU attention goes segment by segment (`run_attention`);
on a GPU one fused kernel with a mask is the fast way.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from jaxtyping import Bool, Float, Int

from lazarus_models.backend import mx, nn
from lazarus_models.components.masks import segment_mask
from lazarus_models.errors import UnsupportedModel
from lazarus_models.ops.cpu.segment_attention import attend_runs
from lazarus_models.trees import layer_count

if TYPE_CHECKING:
    from lazarus_models.components.decoder import Decoder


class MaskCache:
    """Looks like mlx-lm's key/value cache, keeps nothing, and answers with the mask it was given."""

    offset = 0

    def __init__(self, mask: Bool[mx.array, "B 1 N N"]) -> None:
        self._mask = mask

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """The keys and values of this row alone."""
        return keys, values

    def make_mask(self, N: int, return_array: bool = True, window_size: int | None = None) -> mx.array:
        """The mask; within a layer's window, where it has one."""
        if window_size is None:
            return self._mask
        position = mx.arange(N)
        return self._mask & (mx.abs(position[:, None] - position) < window_size)


class SegmentCache:
    """Looks like mlx-lm's key/value cache, keeps nothing, and holds segments apart."""

    offset = 0

    def __init__(self, segment_ids: Int[mx.array, "B N"]) -> None:
        self._segment_ids = segment_ids
        self._masks: dict[int | None, mx.array] = {}

    def update_and_fetch(
        self, keys: Float[mx.array, "B K N D"], values: Float[mx.array, "B K N D"]
    ) -> tuple[mx.array, mx.array]:
        """The keys and values of this row alone."""
        return keys, values

    def make_mask(self, N: int, return_array: bool = True, window_size: int | None = None) -> mx.array | None:
        """The mask of a layer, which layers with the same window share; None where attention goes by `runs`."""
        if window_size is None and self.runs is not None:
            return None
        if window_size not in self._masks:
            self._masks[window_size] = segment_mask(self._segment_ids, window_size)
        return self._masks[window_size]

    @cached_property
    def runs(self) -> list[list[tuple[int, int]]] | None:
        """Half-open token ranges of each row's segments, or None where a mask is the way: on a GPU, and for labels
        that come back after another one.
        """
        if mx.default_device().type != mx.cpu:
            return None
        runs: list[list[tuple[int, int]]] = []
        for labels in np.array(self._segment_ids):
            changes = np.flatnonzero(np.diff(labels)) + 1
            if len(changes) + 1 > len(np.unique(labels)):
                return None
            runs.append(list(pairwise([0, *changes.tolist(), len(labels)])))
        return runs


def segment_caches(model: nn.Module, segment_ids: Int[mx.array, "B N"]) -> list[SegmentCache]:
    """One cache a layer: `model(ids, cache=segment_caches(model, segment_ids))` attends within segments.

    Args:
        model: Any that `supports_packing`.
        segment_ids: A label a token. Padding is a segment like any other, by custom 0.

    Raises:
        UnsupportedModel: A layer would let segments see each other.
    """
    _refuse_states(model)
    return [SegmentCache(segment_ids)] * layer_count(model)


def mask_caches(model: nn.Module, mask: Bool[mx.array, "B 1 N N"]) -> list[MaskCache]:
    """One cache a layer: `model(ids, cache=mask_caches(model, mask))` attends as the mask says, uncached."""
    _refuse_states(model)
    return [MaskCache(mask)] * layer_count(model)


def _refuse_states(model: nn.Module) -> None:
    if not cast("Decoder", model).config.supports_packing:
        raise UnsupportedModel(
            "this model's layers carry a state, absolute positions or chunks across a row, which no mask can part; "
            "give one sample a row",
            "LM-E113",
        )


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
