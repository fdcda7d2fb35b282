"""The cache of a layer with a state: arrays that each call replaces."""

from collections.abc import Sequence
from typing import Any

from lazarus_models.backend import mx


class ArraysCache:
    """The arrays of one layer, each (B, ...) or None before the first token; the name is mlx-lm's, for its files."""

    def __init__(self, size: int) -> None:
        self._arrays: list[Any] = [None] * size

    def __getitem__(self, place: int) -> Any:
        return self._arrays[place]

    def __setitem__(self, place: int, array: Any) -> None:
        self._arrays[place] = array

    def make_mask(self, N: int) -> None:
        """The mask of new tokens: None, because no text is padded."""

    @property
    def state(self) -> Any:
        """The arrays and two empty entries (mlx-lm's padding and lengths), as a prompt cache stores them."""
        return self._arrays, None, None

    @state.setter
    def state(self, state: Any) -> None:
        self._arrays = list(state[0])

    def is_trimmable(self) -> bool:
        """Whether tokens can be forgotten: never, a state does not run backwards."""
        return False

    def filter(self, rows: mx.array) -> None:
        """Keeps the texts at the given rows, int32, (B,)."""
        self._arrays = [None if each is None else each[rows] for each in self._arrays]

    def extend(self, other: "ArraysCache") -> None:
        """Adds the texts of another cache behind these."""
        pairs = zip(self._arrays, other._arrays, strict=True)
        self._arrays = [None if one is None else mx.concatenate([one, more]) for one, more in pairs]

    @classmethod
    def merge(cls, caches: Sequence["ArraysCache"]) -> "ArraysCache":
        """The caches of several texts, each with at least one token, as one cache of a batch."""
        merged = cls(len(caches[0]._arrays))
        columns = zip(*(cache._arrays for cache in caches), strict=True)
        merged._arrays = [None if column[0] is None else mx.concatenate(list(column)) for column in columns]
        return merged
