"""The numbers of samples: which row of which source each number of a plan names.

In most plans the sources follow one another, so a number is an offset plus a position in the length cache. Rows that were
appended to a source before the last one get the next free numbers when a plan is rebased, so that the kept steps stay as they
are. Such a plan lists its *ranges*: pairs of a source and a count. Each range gives the next numbers to the next rows of its source.
A plan with such a list has format version 3.

N = samples of all sources
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.plan import Integers, Metadata, Ranges

NUMBERED_VERSION = 3
"""Format version of a plan that lists its ranges."""


@dataclass(frozen=True)
class Numbering:
    """The ranges of a plan.

    >>> numbering = Numbering(((0, 3), (1, 2), (0, 1)), 2)
    >>> numbering.of(0).tolist(), numbering.of(1)
    ([0, 1, 2, 5], slice(3, 5, None))
    >>> numbering.place(5)
    (0, 3)

    Args:
        ranges: Source and number of rows of each range, in the order of the sample numbers.
        num_sources: Number of sources.
    """

    ranges: Ranges
    num_sources: int

    @classmethod
    def of_plan(cls, metadata: Metadata) -> "Numbering":
        """The numbering of a plan."""
        counts = [source.count for source in metadata.sources]
        return cls(metadata.numbering or plain_ranges(counts), len(counts))

    @property
    def stored(self) -> Ranges | None:
        """The ranges as `metadata.json` has them: None if the sources follow one another."""
        return None if self.ranges == plain_ranges(self.counts) else self.ranges

    @cached_property
    def counts(self) -> list[int]:
        """Number of rows of each source."""
        counts = [0] * self.num_sources
        for source, count in self.ranges:
            counts[source] += count
        return counts

    @property
    def offsets(self) -> tuple[int, ...]:
        """Number of the first sample of each source."""
        firsts = self._firsts.tolist()
        first_ranges = [
            next(at for at, (each, _) in enumerate(self.ranges) if each == source) for source in range(self.num_sources)
        ]
        return tuple(firsts[at] for at in first_ranges)

    def extended(self, counts: Sequence[int]) -> "Numbering":
        """The numbering after rows were appended; all earlier numbers stay.

        Args:
            counts: Number of rows of each source now, none below its earlier number.
        """
        ranges = list(self.ranges)
        # The source of the last range comes first, because its rows extend that range.
        last = ranges[-1][0]
        for source in (last, *(each for each in range(self.num_sources) if each != last)):
            more = counts[source] - self.counts[source]
            if more and ranges[-1][0] == source:
                ranges[-1] = (source, ranges[-1][1] + more)
            elif more:
                ranges.append((source, more))
        return Numbering(tuple(ranges), self.num_sources)

    def of(self, source: int) -> slice | NDArray[np.int64]:
        """The numbers of a source's samples, in the order of its length cache: an index for arrays of all samples."""
        mine = [
            (first, count)
            for (each, count), first in zip(self.ranges, self._firsts.tolist(), strict=True)
            if each == source
        ]
        if len(mine) == 1:
            return slice(mine[0][0], sum(mine[0]))
        return np.concatenate([np.arange(first, first + count, dtype=np.int64) for first, count in mine])

    def source_of(self, sample: Integers) -> NDArray[np.int64]:
        """The source of each sample number."""
        return self._sources[self._range_of(sample)]

    def position_of(self, sample: Integers) -> NDArray[np.int64]:
        """The position of each sample number in the length cache of its source."""
        return sample - self._shifts[self._range_of(sample)]

    def place(self, sample: int) -> tuple[int, int]:
        """Source, and position in its length cache, of one sample number."""
        only = np.array([sample])
        return int(self.source_of(only)[0]), int(self.position_of(only)[0])

    def numbers(self, index: Integers) -> Integers:
        """Sample numbers of rows.

        Args:
            index: 0-based positions in the concatenated length caches.
        """
        return index if self.stored is None else self._by_index[index].astype(index.dtype)

    def by_number(self, rows: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Reorder one line for each row, (N, ..): from the order of the length caches to that of the sample numbers."""
        if self.stored is None:
            return rows
        found = np.empty_like(rows)
        found[self._by_index] = rows
        return found

    def indices(self, sample: Sequence[int]) -> list[int]:
        """0-based positions in the concatenated length caches of some sample numbers."""
        asked = np.array(sample, dtype=np.int64)
        firsts = np.array([0, *accumulate(self.counts)], dtype=np.int64)
        return (firsts[self.source_of(asked)] + self.position_of(asked)).tolist()

    @cached_property
    def _by_index(self) -> NDArray[np.int64]:
        """The sample number of every row of the concatenated length caches, (N,)."""
        every = np.arange(sum(self.counts), dtype=np.int64)
        return np.concatenate([every[self.of(source)] for source in range(self.num_sources)])

    @cached_property
    def _sources(self) -> NDArray[np.int64]:
        return np.array([source for source, _ in self.ranges], dtype=np.int64)

    @cached_property
    def _firsts(self) -> NDArray[np.int64]:
        """The first number of each range."""
        return np.array([0, *accumulate(count for _, count in self.ranges)][:-1], dtype=np.int64)

    @cached_property
    def _shifts(self) -> NDArray[np.int64]:
        """For each range, the difference between a sample number and the position in its length cache."""
        seen = [0] * self.num_sources
        shifts: list[int] = []
        for (source, count), first in zip(self.ranges, self._firsts.tolist(), strict=True):
            shifts.append(first - seen[source])
            seen[source] += count
        return np.array(shifts, dtype=np.int64)

    def _range_of(self, sample: Integers) -> NDArray[np.intp]:
        return np.searchsorted(self._firsts, sample, side="right") - 1


def plain_ranges(counts: Sequence[int]) -> Ranges:
    """The ranges of sources that follow one another.

    Args:
        counts: Number of rows of each source.
    """
    return tuple(enumerate(counts))


def fault_of(metadata: Metadata) -> str | None:
    """Why the ranges in a plan's metadata cannot be used, or None."""
    ranges, counts = metadata.numbering, [source.count for source in metadata.sources]
    if (ranges is None) != (metadata.plan_format_version < NUMBERED_VERSION):
        return (
            f"`numbering` belongs to plan format {NUMBERED_VERSION}, the plan has format {metadata.plan_format_version}"
        )
    if ranges is None:
        return None
    if any(source >= len(counts) or not count for source, count in ranges):
        return "a range of `numbering` is empty, or of a source that does not exist"
    if Numbering(ranges, len(counts)).counts != counts:
        return "the ranges of `numbering` are not the rows of `sources`"
    if any(one[0] == other[0] for one, other in pairwise(ranges)) or ranges == plain_ranges(counts):
        return "`numbering` is not in its shortest form"
    return None
