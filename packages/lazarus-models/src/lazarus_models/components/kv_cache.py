"""Key/value caches of one text: every token, or a window of the last ones.

B = rows, K = key/value heads, N = new tokens, W = width of a head

The layout of the arrays and of `state` is mlx-lm's, so that its prompt caches and ours are the same files.
Adapted from mlx-lm 0.32 (MIT License, Copyright © 2023 Apple Inc.).
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
from collections.abc import Sequence
from typing import Any, Literal

from jaxtyping import Bool, Float

from lazarus_models.backend import mx
from lazarus_models.components.batch_kv_cache import STEP, BatchKVCache, BatchRotatingKVCache, zeros_like
from lazarus_models.components.masks import causal_mask

Mask = Bool[mx.array, "..."] | Literal["causal"] | None


class KVCache:
    """The keys and values of every token, in arrays that grow by `STEP` tokens."""

    def __init__(self) -> None:
        self.keys: Any = None
        self.values: Any = None
        self.offset = 0
        """Tokens stored."""

    def update_and_fetch(
        self, keys: Float[mx.array, "B K N W"], values: Float[mx.array, "B K N W"]
    ) -> tuple[mx.array, mx.array]:
        """Stores new keys and values, and returns those of every token.

        Args:
            keys: Keys of the new tokens, float, (B, K, N, W).
            values: Values of the new tokens, float, (B, K, N, W).
        """
        # Growth in steps: a copy of the whole cache for every token would be quadratic.
        before, after = self.offset, self.offset + keys.shape[2]
        if self.keys is None or after > self.keys.shape[2]:
            self.keys, self.values = _grown(self.keys, keys, before), _grown(self.values, values, before)
        self.offset = after
        self.keys[..., before:after, :] = keys
        self.values[..., before:after, :] = values
        return self.keys[..., :after, :], self.values[..., :after, :]

    def make_mask(self, N: int, return_array: bool = False, window_size: int | None = None) -> Mask:
        """The mask of the next `N` tokens.

        Args:
            N: New tokens.
            return_array: Return an array where `"causal"` would do.
            window_size: Tokens that a token sees, itself included; None for all.
        """
        if window_size is not None:
            return causal_mask(N, self.offset, window=window_size)
        if N == 1:
            return None
        return causal_mask(N, self.offset) if return_array else "causal"

    @property
    def state(self) -> Any:
        """Keys, values and offset, as a prompt cache stores them."""
        return self.keys, self.values, self.offset

    @state.setter
    def state(self, state: Any) -> None:
        self.keys, self.values, self.offset = state

    def size(self) -> int:
        """Tokens stored."""
        return self.offset

    def is_trimmable(self) -> bool:
        """Whether `trim` works: always."""
        return True

    def trim(self, tokens: int) -> None:
        """Forgets the last tokens."""
        self.offset -= min(self.offset, tokens)

    @staticmethod
    def merge(caches: Sequence["KVCache"]) -> BatchKVCache:
        """The caches of several texts as one cache of a batch."""
        return BatchKVCache.of([(*_used(cache.keys, cache.values, cache.offset), cache.offset) for cache in caches])


class RotatingKVCache:
    """The keys and values of the last `max_size` tokens, in a ring: a new token replaces the oldest one."""

    def __init__(self, max_size: int) -> None:
        self.keys: Any = None
        self.values: Any = None
        self.offset = 0
        """Tokens read so far."""
        self.max_size = max_size
        self._next = 0  # place of the next token in the ring

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
            self.keys, self.values = self._ordered(self.keys), self._ordered(self.values)
            surplus = max(0, self.keys.shape[2] - self.max_size + 1)  # the first new token sees max_size - 1 old ones
            self.keys = mx.concatenate([self.keys[..., surplus:, :], keys], axis=2)
            self.values = mx.concatenate([self.values[..., surplus:, :], values], axis=2)
        self.offset += keys.shape[2]
        self._next = self.keys.shape[2]
        return self.keys, self.values

    def _replace(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """One token: written in place."""
        room = 0 if self.keys is None else self.keys.shape[2]
        if self.keys is None or (self.offset >= room and room < self.max_size):
            more = min(STEP, self.max_size - self.offset)  # the ring grows until it has `max_size` places
            parts = [] if self.keys is None else [(self.keys, self.values)]
            parts.append((zeros_like(keys, more), zeros_like(values, more)))
            self.keys, self.values = (mx.concatenate(list(each), axis=2) for each in zip(*parts, strict=True))
            self._next = self.offset
        if (surplus := self.keys.shape[2] - self.max_size) > 0:  # left by `_append`
            self.keys, self.values = self.keys[..., surplus:, :], self.values[..., surplus:, :]
            self._next = self.max_size
        if self._next == self.max_size:  # the ring is full: continue at its start
            self._next = 0
        self.keys[..., self._next : self._next + 1, :] = keys
        self.values[..., self._next : self._next + 1, :] = values
        self.offset += 1
        self._next += 1
        return self.keys[..., : self.offset, :], self.values[..., : self.offset, :]

    def last(self) -> tuple[Any, Any]:
        """The keys and values of the last `max_size` tokens in the order of time; None before the first token."""
        if self.keys is None:
            return None, None
        size = self.size()
        return self._ordered(self.keys)[..., -size:, :], self._ordered(self.values)[..., -size:, :]

    def _ordered(self, stored: mx.array) -> mx.array:
        """The stored keys or values in the order of time, without unused room."""
        if self._next == stored.shape[2]:
            return stored
        if self._next < self.offset:
            return mx.concatenate([stored[..., self._next :, :], stored[..., : self._next, :]], axis=2)
        return stored[..., : self._next, :]

    def make_mask(self, N: int, window_size: int | None = None, return_array: bool = False) -> Mask:
        """The mask of the next `N` tokens.

        Args:
            N: New tokens.
            window_size: Tokens that a token sees, itself included; None for `max_size`.
            return_array: Return an array where `"causal"` would do.
        """
        if N > 1:
            window = window_size or self.max_size
            before = min(self.max_size - 1, self.offset)
            return causal_mask(N, before, window=window) if before + N > window or return_array else "causal"
        if window_size is None or self.offset < window_size or self.max_size <= window_size:
            return None
        # One token, and a window smaller than the ring: the newest `window_size` places, turned to the ring's order.
        place = 0 if self._next >= self.max_size else self._next
        stored = min(self.offset + 1, self.max_size)
        return mx.roll(mx.arange(stored) >= stored - window_size, place + 1, 0)

    @property
    def state(self) -> Any:
        """Keys, values, offset, 0 (mlx-lm's `keep`), size and place in the ring, as a prompt cache stores them."""
        return self.keys, self.values, self.offset, 0, self.max_size, self._next

    @state.setter
    def state(self, state: Any) -> None:
        self.keys, self.values, self.offset, keep, self.max_size, self._next = state
        if keep:
            raise ValueError(f"the cache keeps its first {keep} tokens, which is not supported")

    def size(self) -> int:
        """Tokens stored."""
        return min(self.offset, self.max_size)

    def is_trimmable(self) -> bool:
        """Whether `trim` works: only before the first token is replaced."""
        return self.offset < self.max_size

    def trim(self, tokens: int) -> None:
        """Forgets the last tokens."""
        tokens = min(self.offset, tokens)
        self.offset -= tokens
        self._next -= tokens

    @staticmethod
    def merge(caches: Sequence["RotatingKVCache"]) -> BatchRotatingKVCache:
        """The caches of several texts, of one `max_size`, as one cache of a batch."""
        texts = [(*cache.last(), cache.offset) for cache in caches]
        return BatchRotatingKVCache.of(caches[0].max_size, texts)


def _grown(stored: Any, new: mx.array, used: int) -> mx.array:
    """An array with room for `new` behind its first `used` tokens; room comes in multiples of `STEP`."""
    room = zeros_like(new, -(-new.shape[2] // STEP) * STEP)
    return room if stored is None else mx.concatenate([stored[..., :used, :], room], axis=2)


def _used(keys: Any, values: Any, tokens: int) -> tuple[Any, Any]:
    """The used part of stored keys and values; None before the first token."""
    return (None, None) if keys is None else (keys[..., :tokens, :], values[..., :tokens, :])
