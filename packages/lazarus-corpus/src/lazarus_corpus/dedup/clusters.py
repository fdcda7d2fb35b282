"""Connected components of near duplicates.

Candidates are pairs with an equal band; a pair is an edge if the exact Jaccard similarity of its n-grams reaches the threshold. Both
depend on the two documents only, so the components depend on the set of documents only. A pair that is already connected is not
compared, which changes no component.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from lazarus_corpus.dedup.minhash import U64, jaccard

NONE = np.iinfo(np.uint32).max
"""No neighbour."""


class Components:
    """Disjoint sets of numbers, with union by the smaller root. 8 bytes a number.

    Args:
        count: Numbers 0 to count - 1, each in a set of its own; below 2**32 - 1.
    """

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count, dtype=np.uint32)
        self.neighbour: NDArray[np.uint32] = np.full(count, NONE, np.uint32)
        """Of each number the other one of the first verified pair that it is in, or `NONE`."""

    def root(self, member: int) -> int:
        """The smallest member of a member's set."""
        parent = self._parent
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = int(parent[member])
        return member

    def join(self, one: int, other: int) -> None:
        """Joins the sets of a verified pair.

        Args:
            one: A member of the first.
            other: A member of the second.
        """
        for member, neighbour in ((one, other), (other, one)):
            if self.neighbour[member] == NONE:
                self.neighbour[member] = neighbour
        one, other = self.root(one), self.root(other)
        self._parent[max(one, other)] = min(one, other)

    def is_root(self) -> NDArray[np.bool_]:
        """Whether each number is the smallest of its set."""
        return self._parent == np.arange(len(self._parent), dtype=np.uint32)

    def joined(self) -> Iterator[int]:
        """The numbers that are not the smallest of their set, ascending."""
        for number in np.flatnonzero(~self.is_root()):
            yield int(number)


_OBJECT_BYTES = 300
"""Of an array and its place in a dictionary, beside its values."""


class _Recent:
    """The sets of n-grams that were used last.

    Args:
        read: Makes the set of a document.
        most: Bytes of the sets kept; the last one is kept whatever its size.
    """

    def __init__(self, read: Callable[[int], U64], most: int = 4 << 20) -> None:
        self._read, self._most, self._size = read, most, 0
        self._sets: OrderedDict[int, U64] = OrderedDict()

    def __call__(self, number: int) -> U64:
        found = self._sets.get(number)
        if found is not None:
            self._sets.move_to_end(number)
            return found
        found = self._sets[number] = self._read(number)
        self._size += found.nbytes + _OBJECT_BYTES
        while self._size > self._most and len(self._sets) > 1:
            self._size -= self._sets.popitem(last=False)[1].nbytes + _OBJECT_BYTES
        return found


def equal_values(values: U64, numbers: U64) -> Iterator[list[int]]:
    """The numbers of each value that several have, by ascending value.

    Args:
        values: A value for each number.
        numbers: Ascending numbers.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    ends = np.r_[starts[1:], len(ordered)]
    for place in np.flatnonzero(ends - starts > 1).tolist():
        yield numbers[order[starts[place] : ends[place]]].tolist()


def near_duplicates(
    count: int, buckets: Iterable[list[int]], shingles: Callable[[int], U64], threshold: float
) -> Components:
    """Components of near duplicates among documents that are numbered by ascending content digest.

    Args:
        count: Number of documents.
        buckets: Ascending numbers of documents that are compared with each other.
        shingles: The n-grams of a document by its number.
        threshold: Smallest Jaccard similarity of a pair.

    Returns:
        The components, whose smallest member is the survivor.
    """
    components = Components(count)
    recent = _Recent(shingles)
    for members in buckets:
        _compare(members, components, recent, threshold)
    return components


def _compare(members: list[int], components: Components, recent: _Recent, threshold: float) -> None:
    """Joins the pairs of one bucket that are similar."""
    for place, one in enumerate(members):
        for other in members[place + 1 :]:
            if components.root(one) == components.root(other):
                continue
            if jaccard(recent(one), recent(other)) >= threshold and len(recent(one)):
                components.join(one, other)
