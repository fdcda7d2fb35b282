"""Key/value caches of several texts that take a step together; shorter texts are padded on the left.

B = rows, K = key/value heads, N = new tokens, W = width of a head

Adapted from mlx-lm 0.32 (MIT License, Copyright © 2023 Apple Inc.).
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
from collections.abc import Sequence
from typing import Any, cast

from jaxtyping import Bool, Float, Int

from lazarus_models.backend import mx
from lazarus_models.components.masks import causal_mask

STEP = 256
"""Tokens by which the arrays of a cache grow."""
Text = tuple[Any, Any, int]
"""Keys (1, K, n, W), values and number of tokens read, of one text; keys and values are None before the first token."""


class BatchKVCache:
    """The keys and values of every token of each text."""

    def __init__(self, keys: Any, values: Any, offset: Int[mx.array, " B"], left_padding: Int[mx.array, " B"]) -> None:
        """Wraps arrays whose texts end at the same place.

        Args:
            keys: Keys, float, (B, K, n, W); None for texts without tokens.
            values: Values, likewise.
            offset: Tokens of each text, int32, (B,).
            left_padding: Unused places before each text, int32, (B,).
        """
        self.keys: Any = keys
        self.values: Any = values
        self.offset: mx.array = offset
        self.left_padding: mx.array = left_padding
        self._end: int = _length(keys)

    @classmethod
    def of(cls, texts: Sequence[Text]) -> "BatchKVCache":
        """The caches of single texts, padded to the longest one."""
        lengths = [offset for _, _, offset in texts]
        keys, values = _padded([text[0] for text in texts], lengths), _padded([text[1] for text in texts], lengths)
        return cls(keys, values, mx.array(lengths), mx.array([max(lengths) - length for length in lengths]))

    def update_and_fetch(
        self, keys: Float[mx.array, "B K N W"], values: Float[mx.array, "B K N W"]
    ) -> tuple[mx.array, mx.array]:
        """Stores new keys and values, and returns those of every token, padding included.

        Args:
            keys: Keys of the new tokens, float, (B, K, N, W).
            values: Values of the new tokens, float, (B, K, N, W).
        """
        before, after = self._end, self._end + keys.shape[2]
        if self.keys is None or after > self.keys.shape[2]:
            room = -(-keys.shape[2] // STEP) * STEP
            self.keys, self.values = (
                zeros_like(new, room)
                if stored is None
                else mx.concatenate([stored[..., :before, :], zeros_like(new, room)], axis=2)
                for stored, new in ((self.keys, keys), (self.values, values))
            )
        self.offset = self.offset + keys.shape[2]
        self._end = after
        self.keys[..., before:after, :] = keys
        self.values[..., before:after, :] = values
        return self.keys[..., :after, :], self.values[..., :after, :]

    def make_mask(
        self, N: int, return_array: bool = False, window_size: int | None = None
    ) -> Bool[mx.array, "B 1 N M"]:
        """The mask of the next `N` tokens; padding is never seen.

        Args:
            N: New tokens.
            return_array: Ignored: the mask is always an array.
            window_size: Tokens that a token sees, itself included; None for all.
        """
        return causal_mask(N, self._end, window=window_size, left_padding=self.left_padding)

    def size(self) -> int:
        """Places in use, padding included."""
        return self._end

    def filter(self, rows: Int[mx.array, " B"]) -> None:
        """Keeps the texts at the given rows, and drops padding that every one of them has."""
        self.offset, self.left_padding = self.offset[rows], self.left_padding[rows]
        surplus = min(cast("list[int]", self.left_padding.tolist()))  # places that no remaining text uses
        if self.keys is not None:
            self.keys, self.values = (each[rows][..., surplus:, :] for each in (self.keys, self.values))
        self._end -= surplus
        self.left_padding = self.left_padding - surplus

    def extend(self, other: "BatchKVCache") -> None:
        """Adds the texts of another cache behind these."""
        # Both caches are padded on the left, so that the last tokens of all texts are at the same place.
        end = max(self._end, other._end)
        room = max(_length(self.keys), _length(other.keys))
        self.keys, self.values = _joined((self, other), (self._end, other._end), end, room)
        self.left_padding = mx.concatenate(
            [self.left_padding + (end - self._end), other.left_padding + (end - other._end)]
        )
        self.offset = mx.concatenate([self.offset, other.offset])
        self._end = end


class BatchRotatingKVCache:
    """The keys and values of the last `max_size` tokens of each text, in one ring for all texts."""

    def __init__(self, max_size: int, keys: Any, values: Any, offset: mx.array, left_padding: mx.array) -> None:
        """Wraps arrays whose texts end at the same place.

        Args:
            max_size: Places of the ring.
            keys: Keys, float, (B, K, n, W); None for texts without tokens.
            values: Values, likewise.
            offset: Tokens read of each text, int32, (B,).
            left_padding: Unused places before each text, int32, (B,); negative once tokens of the text were replaced.
        """
        self.max_size = max_size
        self.keys: Any = keys
        self.values: Any = values
        self.offset: mx.array = offset
        self.left_padding: mx.array = left_padding
        self._next: int = _length(keys)  # place of the next token in the ring
        self._read: int = self._next  # tokens read, padding included
        self._is_rotated = False

    @classmethod
    def of(cls, max_size: int, texts: Sequence[Text]) -> "BatchRotatingKVCache":
        """The caches of single texts, each in the order of time, padded to the longest one.

        Args:
            max_size: Places of the ring.
            texts: At least one text.
        """
        lengths = [min(offset, max_size) for _, _, offset in texts]
        keys, values = _padded([text[0] for text in texts], lengths), _padded([text[1] for text in texts], lengths)
        padding = mx.array([max(lengths) - length for length in lengths])
        return cls(max_size, keys, values, mx.array([offset for _, _, offset in texts]), padding)

    def update_and_fetch(
        self, keys: Float[mx.array, "B K N W"], values: Float[mx.array, "B K N W"]
    ) -> tuple[mx.array, mx.array]:
        """Stores new keys and values, and returns those that the new tokens may see.

        Args:
            keys: Keys of the new tokens, float, (B, K, N, W).
            values: Values of the new tokens, float, (B, K, N, W).
        """
        return self._replace(keys, values) if keys.shape[2] == 1 else self._append(keys, values)

    def _append(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Several tokens: the ring is put in the order of time, and each new token still sees `max_size` tokens."""
        if self.keys is None:
            self.keys, self.values = keys, values
        else:
            self._order()
            surplus = max(0, self._next - self.max_size + 1)  # the first new token sees max_size - 1 old ones
            self.left_padding = self.left_padding - surplus
            self.keys = mx.concatenate([self.keys[..., surplus : self._next, :], keys], axis=2)
            self.values = mx.concatenate([self.values[..., surplus : self._next, :], values], axis=2)
        self.offset = self.offset + keys.shape[2]
        self._read += keys.shape[2]
        self._next = self.keys.shape[2]
        self._tie()
        return self.keys, self.values

    def _replace(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """One token a text: written in place."""
        room = _length(self.keys)
        if self.keys is None or (self._read >= room and room < self.max_size):
            more = min(STEP, self.max_size - self._read)  # the ring grows until it has `max_size` places
            parts = [] if self.keys is None else [(self.keys, self.values)]
            parts.append((zeros_like(keys, more), zeros_like(values, more)))
            self.keys, self.values = (mx.concatenate(list(each), axis=2) for each in zip(*parts, strict=True))
            self._next = self._read
        if (surplus := self.keys.shape[2] - self.max_size) > 0:  # left by `_append`
            self.keys, self.values = self.keys[..., surplus:, :], self.values[..., surplus:, :]
            self._next = self.max_size
            self.left_padding = self.left_padding - surplus
        if self._next == self.max_size:
            self._is_rotated = True
            self._next = 0
        if self._is_rotated:  # the oldest place is overwritten: each text begins one place earlier
            self.left_padding = self.left_padding - 1
        self.keys[..., self._next : self._next + 1, :] = keys
        self.values[..., self._next : self._next + 1, :] = values
        self._read += 1
        self.offset = self.offset + 1
        self._next += 1
        self._tie()
        return self.keys[..., : self._read, :], self.values[..., : self._read, :]

    def make_mask(
        self, N: int, window_size: int | None = None, return_array: bool = False
    ) -> Bool[mx.array, "B 1 N M"]:
        """The mask of the next `N` tokens; padding is never seen.

        Args:
            N: New tokens.
            window_size: Tokens that a token sees, itself included; None for `max_size`.
            return_array: Ignored: the mask is always an array.
        """
        padding = self.left_padding
        if (surplus := self._next - self.max_size + int(N > 1)) > 0:
            padding = padding - surplus
        is_turned = N == 1 and (self._is_rotated or self._next >= self.max_size)
        if is_turned:
            padding = padding - 1
        before = min(self.max_size - 1, self._read)
        mask = causal_mask(N, before, window=window_size or self.max_size, left_padding=padding)
        if is_turned:  # from the order of time to the order of the ring
            place = 0 if self._next >= self.max_size else self._next
            mask = mx.roll(mask, place + 1, -1)
        return mask

    def size(self) -> int:
        """Places in use, padding included."""
        return min(self._read, self.max_size)

    def filter(self, rows: Int[mx.array, " B"]) -> None:
        """Keeps the texts at the given rows."""
        if self.keys is not None:
            self.keys, self.values = self.keys[rows], self.values[rows]
        self.offset, self.left_padding = self.offset[rows], self.left_padding[rows]

    def extend(self, other: "BatchRotatingKVCache") -> None:
        """Adds the texts of another cache behind these."""
        if self._is_rotated != other._is_rotated or self._next != other._next:
            self._order()
            other._order()
        end = max(self._next, other._next)
        room = max(_length(self.keys), _length(other.keys))
        self.keys, self.values = _joined((self, other), (self._next, other._next), end, room)
        self.left_padding = mx.concatenate(
            [self.left_padding + (end - self._next), other.left_padding + (end - other._next)]
        )
        self.offset = mx.concatenate([self.offset, other.offset])
        self._next = end
        self._read = max(self._read, other._read)

    def _order(self) -> None:
        """Turns the ring so that its places are in the order of time."""
        if self._is_rotated:
            self.keys, self.values = (mx.roll(each, -self._next, 2) for each in (self.keys, self.values))
            self._next = self.keys.shape[2]
            self._is_rotated = False

    def _tie(self) -> None:
        """Has the counters computed with the keys: unevaluated, their graph would grow by a node a token."""
        self.keys = mx.depends(self.keys, (self.left_padding, self.offset))  # pyright: ignore[reportUnknownMemberType] (untyped in MLX)


def zeros_like(array: Float[mx.array, "B K N W"], tokens: int) -> mx.array:
    """Zeros of the shape of keys or values, for another number of tokens.

    Args:
        array: Keys or values, float, (B, K, N, W).
        tokens: Number of tokens.
    """
    rows, heads, _, width = array.shape
    return mx.zeros((rows, heads, tokens, width), array.dtype)


def _length(stored: Any) -> int:
    return 0 if stored is None else stored.shape[2]


def _padded(stored: Sequence[Any], lengths: Sequence[int]) -> Any:
    """Keys or values of several texts in one array that ends with the last token of each; None if all are empty."""
    example, longest = next((each for each in stored if each is not None), None), max(lengths)
    if example is None or not longest:
        return None
    out = mx.zeros((len(stored), example.shape[1], longest, example.shape[3]), example.dtype)
    for row, (each, length) in enumerate(zip(stored, lengths, strict=True)):
        if each is not None:
            out[row : row + 1, :, longest - length :] = each
    return out


def _joined(caches: Sequence[Any], ends: Sequence[int], end: int, room: int) -> tuple[Any, Any]:
    """Keys and values of two caches in arrays of `room` places, so that the texts of both end at `end`."""
    example = next((cache for cache in caches if cache.keys is not None), None)
    if example is None:
        return None, None
    joined: list[mx.array] = []
    for name in ("keys", "values"):
        parts: list[mx.array] = []
        for cache, own_end in zip(caches, ends, strict=True):
            stored = getattr(cache, name)
            if stored is None:
                shape = getattr(example, name).shape
                stored = mx.zeros((cache.offset.shape[0], shape[1], 0, shape[3]), example.keys.dtype)
            left = end - own_end
            right = room - stored.shape[2] - left
            if right < 0:  # unused places at the end
                stored, right = stored[..., :right, :], 0
            parts.append(mx.pad(stored, [(0, 0), (0, 0), (left, right), (0, 0)]) if left or right else stored)
        joined.append(mx.concatenate(parts))
    return joined[0], joined[1]
