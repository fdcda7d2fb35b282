"""Deterministic draws: equal on every platform, Python version and hash seed.

Only `getrandbits` of a Mersenne Twister seeded by an integer is used. Its output is fixed by the algorithm; that of
`shuffle`, `sample` and `randrange` is fixed by their implementation, which Python may change.
"""

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Draw:
    """A generator for one key.

    >>> draw = Draw("sudoku", "easy", 7)
    >>> [draw.below(10) for _ in range(5)], draw.shuffled("abcd")
    ([0, 7, 9, 2, 2], ['a', 'b', 'd', 'c'])

    Args:
        key: Words and numbers; another key gives unrelated draws.
    """

    def __init__(self, *key: str | int) -> None:
        digest = hashlib.sha256("|".join(["lazarus-gym/2", *map(str, key)]).encode()).digest()
        self._bits = random.Random(int.from_bytes(digest, "big")).getrandbits

    def below(self, bound: int) -> int:
        """A whole number of [0, bound), each equally likely; `bound` is at least 1."""
        width = (bound - 1).bit_length()
        while True:
            number = self._bits(width) if width else 0
            if number < bound:
                return number

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included.

        Args:
            low: Smallest number.
            high: Largest number.
        """
        return low + self.below(high - low + 1)

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """The items in a random order (Fisher and Yates)."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order

    def chosen(self, items: Sequence[Item]) -> Item:
        """One of the items."""
        return items[self.below(len(items))]
