"""Layer caches with the interface of mlx-lm's key/value cache.

B = rows, N = tokens a row, K = key/value heads, D = width of a head
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float, Int

from lazarus_models.backend import mx
from lazarus_models.components.masks import segment_mask


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


@dataclass(frozen=True)
class PartedCache:
    """A layer's caches of several texts that stand in one row, one behind the other, and do not see each other."""

    lengths: tuple[int, ...]
    """Tokens of each text in the row."""
    parts: tuple[Any, ...]
    """A cache a text, of mlx-lm's kinds."""

    def split(self, row: mx.array) -> list[mx.array]:
        """Each text's piece of a row (1, T, ...)."""
        return cast("list[mx.array]", mx.split(row, list(accumulate(self.lengths[:-1])), axis=1))
