"""Draws in proportion to weights, and changes of weights, in logarithmic time.

A complete binary tree in one array: node 1 is the root, node k has children 2k and 2k + 1, the weights are the leaves. An inner
node is always computed as the sum of its children. So equal weights give bitwise equal trees, however they came about.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class SumTree:
    """Weights of places 0 to `size` - 1.

    Args:
        size: Number of places.
    """

    def __init__(self, size: int) -> None:
        self._depth = max(1, (size - 1).bit_length())
        self._first = 1 << self._depth
        self._nodes: Floats = np.zeros(2 * self._first)

    @property
    def total(self) -> float:
        """Sum of all weights."""
        return float(self._nodes[1])

    def weights(self, places: Ints) -> Floats:
        """The weights of places."""
        return self._nodes[places + self._first]

    def set(self, places: Ints, weights: Floats) -> None:
        """Changes weights.

        Args:
            places: Places; of one that occurs twice, the last weight counts.
            weights: New weights, at least 0.
        """
        nodes: Ints = places + self._first
        self._nodes[nodes] = weights
        for _ in range(self._depth):
            nodes = np.unique(nodes >> 1)
            self._nodes[nodes] = self._nodes[2 * nodes] + self._nodes[2 * nodes + 1]

    def set_one(self, place: int, weight: float) -> None:
        """Changes one weight, faster than `set`.

        Args:
            place: The place.
            weight: Its new weight, at least 0.
        """
        nodes, node = self._nodes, place + self._first
        nodes[node] = weight
        while node > 1:
            node >>= 1
            nodes[node] = nodes[2 * node] + nodes[2 * node + 1]

    def find(self, fractions: Floats) -> Ints:
        """The places at fractions of the total weight.

        Args:
            fractions: Numbers of [0, 1); uniform ones draw each place in proportion to its weight.
        """
        rest: Floats = fractions * self.total
        nodes: Ints = np.ones(len(fractions), np.int64)
        for _ in range(self._depth):
            left: Ints = 2 * nodes
            weight: Floats = self._nodes[left]
            # Rounding can leave a rest as large as the whole weight: never step to a side without weight.
            goes_right: NDArray[np.bool_] = (rest >= weight) & (self._nodes[left + 1] > 0)
            rest = np.where(goes_right, rest - weight, rest)
            nodes = left + goes_right
        return nodes - self._first
