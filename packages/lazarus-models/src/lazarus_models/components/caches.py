"""Caches that store nothing and answer with a mask: for packed rows and for bidirectional attention.

B = rows, N = tokens a row, K = key/value heads, D = width of a head
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float, Int

from lazarus_models.backend import mx, on_cpu
from lazarus_models.components.masks import segment_mask


class MaskCache:
    """A cache that stores nothing; its mask is the given one."""

    offset = 0

    def __init__(self, mask: Bool[mx.array, "B 1 N N"]) -> None:
        self._mask = mask

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Returns the arguments, because nothing is stored.

        Args:
            keys: Keys, float, (B, K, N, D).
            values: Values, float, (B, K, N, D).
        """
        return keys, values

    def make_mask(self, N: int, return_array: bool = True, window_size: int | None = None) -> mx.array:
        """The mask, restricted to the layer's window if it has one.

        Args:
            N: Tokens of a row.
            return_array: Ignored: the mask is always an array.
            window_size: Largest distance plus one of a token and a key; None for any distance.
        """
        if window_size is None:
            return self._mask
        position = mx.arange(N)
        return self._mask & (mx.abs(position[:, None] - position) < window_size)


class SegmentCache:
    """A cache that stores nothing; its mask keeps the segments of packed rows apart."""

    offset = 0

    def __init__(self, segment_ids: Int[mx.array, "B N"]) -> None:
        self._segment_ids = segment_ids
        self._masks: dict[int | None, mx.array] = {}

    def update_and_fetch(
        self, keys: Float[mx.array, "B K N D"], values: Float[mx.array, "B K N D"]
    ) -> tuple[mx.array, mx.array]:
        """Returns the arguments, because nothing is stored.

        Args:
            keys: Keys, float, (B, K, N, D).
            values: Values, float, (B, K, N, D).
        """
        return keys, values

    def make_mask(self, N: int, return_array: bool = True, window_size: int | None = None) -> mx.array | None:
        """The mask of a layer; None if attention is computed by `runs`.

        Args:
            N: Tokens of a row.
            return_array: Ignored: the mask is always an array.
            window_size: Tokens that a token sees, itself included; None for all.
        """
        if window_size is None and self.runs is not None:
            return None
        if window_size not in self._masks:
            self._masks[window_size] = segment_mask(self._segment_ids, window_size)
        return self._masks[window_size]

    @cached_property
    def runs(self) -> list[list[tuple[int, int]]] | None:
        """Half-open token ranges of each row's segments.

        None if a mask is needed: on a GPU, or if a label appears again after another one.
        """
        if not on_cpu():
            return None
        runs: list[list[tuple[int, int]]] = []
        for labels in np.array(self._segment_ids):
            changes = np.flatnonzero(np.diff(labels)) + 1
            if len(changes) + 1 > len(np.unique(labels)):  # a label appears in two ranges
                return None
            runs.append(list(pairwise([0, *changes.tolist(), len(labels)])))
        return runs


@dataclass(frozen=True)
class PartedCache:
    """The caches of one layer for several texts that are concatenated in one row and do not see each other."""

    lengths: tuple[int, ...]
    """Tokens of each text in the row."""
    parts: tuple[Any, ...]
    """One cache a text."""

    def split(self, row: mx.array) -> list[mx.array]:
        """The part of each text in a row (1, T, ...)."""
        return cast("list[mx.array]", mx.split(row, list(accumulate(self.lengths[:-1])), axis=1))
