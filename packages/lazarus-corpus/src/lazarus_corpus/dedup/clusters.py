"""Connected components of near duplicates.

Candidates are pairs with an equal band; a pair is an edge if the exact Jaccard similarity of its n-grams reaches the threshold. Both
depend on the two documents only, so the components depend on the set of documents only. A pair that is already connected is not
compared, which changes no component.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from lazarus_corpus.dedup.minhash import U64, jaccard


class Components:
    """Disjoint sets of numbers, with union by the smaller root.

    Args:
        count: Numbers 0 to count - 1, each in a set of its own.
    """

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count, dtype=np.int64)

    def root(self, member: int) -> int:
        """The smallest member of a member's set."""
        parent = self._parent
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = int(parent[member])
        return member

    def join(self, one: int, other: int) -> bool:
        """Join two sets; False if they are one already.

        Args:
            one: A member of the first.
            other: A member of the second.
        """
        one, other = self.root(one), self.root(other)
        if one == other:
            return False
        self._parent[max(one, other)] = min(one, other)
        return True

    def roots(self) -> U64:
        """The smallest member of each number's set."""
        return np.fromiter(map(self.root, range(len(self._parent))), np.int64, len(self._parent))  # pyright: ignore[reportReturnType]


class Edge(NamedTuple):
    """A verified pair.

    Args:
        one: Smaller number.
        other: Larger number.
        similarity: Jaccard similarity.
    """

    one: int
    other: int
    similarity: float


class _Recent:
    """The sets of n-grams that were used last.

    Args:
        read: Makes the set of a document.
        most: Number of sets kept.
    """

    def __init__(self, read: Callable[[int], U64], most: int = 512) -> None:
        self._read, self._most = read, most
        self._sets: OrderedDict[int, U64] = OrderedDict()

    def __call__(self, number: int) -> U64:
        found = self._sets.pop(number, None)
        if found is None:
            found = self._read(number)
        self._sets[number] = found
        if len(self._sets) > self._most:
            self._sets.popitem(last=False)
        return found


def near_duplicates(
    count: int, bands: Iterable[U64], shingles: Callable[[int], U64], threshold: float
) -> tuple[Components, dict[int, Edge]]:
    """Components of near duplicates among documents that are numbered by ascending content digest.

    Args:
        count: Number of documents.
        bands: The values of one band for all documents; one band after the other.
        shingles: The n-grams of a document by its number.
        threshold: Smallest Jaccard similarity of an edge.

    Returns:
        The components, whose smallest member is the survivor; and for each document with a verified pair, one such pair.
    """
    components = Components(count)
    edges: dict[int, Edge] = {}
    recent = _Recent(shingles)
    for values in bands:
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        ends = np.r_[starts[1:], len(ordered)]
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            if end - start > 1:
                _compare(sorted(order[start:end].tolist()), components, edges, recent, threshold)
    return components, edges


def _compare(
    members: list[int], components: Components, edges: dict[int, Edge], recent: _Recent, threshold: float
) -> None:
    """Join the pairs of one bucket that are similar."""
    for place, one in enumerate(members):
        for other in members[place + 1 :]:
            if components.root(one) == components.root(other):
                continue
            found = jaccard(recent(one), recent(other))
            if found >= threshold and len(recent(one)):
                components.join(one, other)
                edge = Edge(one, other, found)
                edges.setdefault(other, edge)
                edges.setdefault(one, edge)
