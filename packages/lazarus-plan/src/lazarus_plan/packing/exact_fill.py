"""Fill rows exactly where a subset sum allows it. Used when best fit needs more rows than the lower bound.

Each row starts with the longest remaining item and is filled to the largest reachable sum, longest items first.
Reachable sums are the bits of one big integer per length. A pattern is repeated as often as the counts allow.
"""

from bisect import bisect_left
from collections.abc import Mapping

from lazarus_plan.packing.best_fit import Pattern


def exact_fill(counts: Mapping[int, int], row_len: int) -> list[Pattern]:
    """Pack items so that rows are exactly full wherever a subset sum allows it.

    >>> exact_fill({6: 1, 5: 2, 4: 1}, row_len=10)
    [Pattern(content=((6, 1), (4, 1)), rows=1), Pattern(content=((5, 2),), rows=1)]

    Args:
        counts: Number of items by length; lengths are 1..row_len.
        row_len: Tokens per row. Time grows with its square: seconds up to 8192.
    """
    left = dict(sorted(counts.items(), reverse=True))
    patterns: list[Pattern] = []
    reachable = _Reachable(left, row_len)
    while left:
        content = reachable.fill(left)
        # Repeat the pattern as often as every length has enough items.
        rows = min(left[length] // count for length, count in content.items())
        patterns.append(Pattern(tuple(content.items()), rows))
        for length, count in content.items():
            left[length] -= rows * count
            if not left[length]:
                del left[length]
    return patterns


class _Reachable:
    """Reachable sums: bit s of `sums[i]` is set if items of lengths[i:] can add up to s.

    Counts only decrease, so bits may become wrong; `fill` notices that and recomputes them.
    """

    def __init__(self, left: Mapping[int, int], row_len: int) -> None:
        self.row_len = row_len
        self._compute(left)

    def _compute(self, left: Mapping[int, int]) -> None:
        self.lengths = list(left)
        self.descending = [-length for length in self.lengths]
        # Sums above row_len are of no use: the mask keeps bits 0..row_len.
        mask = (1 << self.row_len + 1) - 1
        # Bit 0: the empty sum is always reachable.
        self.sums = [1] * (len(self.lengths) + 1)
        for place in range(len(self.lengths) - 1, -1, -1):
            length = self.lengths[place]
            copies, sums, size = min(left[length], self.row_len // length), self.sums[place + 1], 1
            while copies:  # 1, 2, 4, .. and the rest: every number of copies in few shifts
                size = min(size, copies)
                sums |= sums << size * length & mask
                copies, size = copies - size, 2 * size
            self.sums[place] = sums

    def fill(self, left: Mapping[int, int]) -> dict[int, int]:
        """Content of the next row, as counts by length."""
        return self._try(left) or self._recomputed(left)

    def _recomputed(self, left: Mapping[int, int]) -> dict[int, int]:
        self._compute(left)
        content = self._try(left)
        assert content is not None, "fresh sums are reachable"
        return content

    def _try(self, left: Mapping[int, int]) -> dict[int, int] | None:
        longest = next(iter(left))
        place = self.lengths.index(longest)
        # Largest sum first, then most copies of the longest item. For each number of copies, the rest of the row
        # is the largest reachable sum of shorter items.
        best = max(
            (self._highest(place + 1, self.row_len - copies * longest) + copies * longest, copies)
            for copies in range(1, min(left[longest], self.row_len // longest) + 1)
        )
        residual = best[0] - best[1] * longest
        content = {longest: best[1]}
        while residual:
            # Longer ones than what is left cannot stand here, and change nothing about what the rest can reach.
            place = bisect_left(self.descending, -residual, place + 1)
            if place == len(self.lengths):
                return None
            length = self.lengths[place]
            copies = min(left.get(length, 0), residual // length)
            # Take as many copies as leave a residual that shorter items reach exactly.
            while copies >= 0 and not self.sums[place + 1] >> residual - copies * length & 1:
                copies -= 1
            # Counts have decreased since the sums were computed: the bit was stale.
            if copies < 0:
                return None
            if copies:
                content[length] = copies
                residual -= copies * length
        return content

    def _highest(self, place: int, room: int) -> int:
        """The largest sum of lengths[place:] that is at most `room`."""
        # Keep bits 0..room; the position of the highest set bit is the largest sum.
        return (self.sums[place] & (1 << room + 1) - 1).bit_length() - 1
