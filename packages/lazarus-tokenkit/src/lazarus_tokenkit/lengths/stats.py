"""Quantiles and a histogram of a length cache. Memory grows with the number of distinct lengths, not of rows."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lazarus_plan import LengthCache
from lazarus_tokenkit.analysis.efficiency import histogram
from lazarus_tokenkit.tables import bars

QUANTILES = (50, 90, 99)
_LENGTHS = re.compile(rb'"length":([0-9]+),"loss_tokens":([0-9]+)')
"""Matches the lengths in a line of `row_line`. An id cannot match, because its quotation marks are escaped."""


class LengthTally:
    """Counts the lengths of rows while they are written."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._loss_tokens = 0

    def add(self, lines: Iterable[bytes]) -> None:
        """Counts lines of a length cache."""
        for line in lines:
            found = _LENGTHS.search(line)
            assert found is not None, "written by `row_line`"
            self.count(int(found[1]), int(found[2]))

    def count(self, length: int, loss_tokens: int) -> None:
        """Counts one sample.

        Args:
            length: Number of tokens.
            loss_tokens: Number of tokens that carry loss.
        """
        self._counts[length] += 1
        self._loss_tokens += loss_tokens

    @property
    def stats(self) -> "LengthStats":
        """Statistics of the rows counted so far."""
        return LengthStats.of_counts(self._counts, self._loss_tokens)


@dataclass(frozen=True)
class LengthStats:
    """Lengths in tokens.

    Args:
        count: Number of samples.
        tokens: Number of tokens of all samples.
        loss_tokens: Number of tokens that carry loss, or None if the cache does not store it.
        min: Smallest length.
        quantiles: Nearest-rank quantile by per cent: that share of the samples is at most that long.
        max: Largest length.
        histogram: (first length, last length, samples) of ranges of equal width.
    """

    count: int
    tokens: int
    loss_tokens: int | None
    min: int
    quantiles: dict[int, int]
    max: int
    histogram: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, cache: LengthCache) -> "LengthStats":
        """Computes the statistics of a length cache.

        >>> from lazarus_plan import LengthRow
        >>> LengthStats.of(LengthCache.from_rows([LengthRow("a", 3), LengthRow("b", 5)])).quantiles
        {50: 3, 90: 5, 99: 5}
        """
        lengths, counts = np.unique(cache.length, return_counts=True)
        loss_tokens = None if cache.loss_tokens is None else int(cache.loss_tokens.sum())
        return cls.of_counts(dict(zip(lengths.tolist(), counts.tolist(), strict=True)), loss_tokens)

    @classmethod
    def of_counts(cls, occurrences: Mapping[int, int], loss_tokens: int | None) -> "LengthStats":
        """Computes the statistics from counts.

        Args:
            occurrences: Length to number of samples; at least one entry.
            loss_tokens: Number of tokens that carry loss, or None.
        """
        lengths = np.array(sorted(occurrences), dtype=np.int64)
        counts = np.array([occurrences[length] for length in lengths.tolist()], dtype=np.int64)
        # Nearest rank: the smallest length that at least `share` per cent of the samples do not exceed. The rank is
        # rounded up in integers, so the result is exact.
        size, reached = int(counts.sum()), np.cumsum(counts)
        return cls(
            count=size,
            tokens=int((lengths * counts).sum()),
            loss_tokens=loss_tokens,
            min=int(lengths[0]),
            quantiles={share: int(lengths[np.searchsorted(reached, -(-share * size // 100))]) for share in QUANTILES},
            max=int(lengths[-1]),
            histogram=histogram(lengths, counts),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "tokens": self.tokens,
            "loss_tokens": self.loss_tokens,
            "min": self.min,
            **{f"p{share}": length for share, length in self.quantiles.items()},
            "max": self.max,
            "histogram": [{"from": first, "to": last, "samples": samples} for first, last, samples in self.histogram],
        }

    def headline(self) -> str:
        """Formats the numbers of samples and tokens as one line."""
        loss = "" if self.loss_tokens is None else f", {self.loss_tokens:,} with loss"
        samples, tokens = ("" if count == 1 else "s" for count in (self.count, self.tokens))
        return f"{self.count:,} sample{samples}, {self.tokens:,} token{tokens}{loss}"

    def text(self) -> str:
        """Formats the statistics as a table with a histogram."""
        quantiles = "  ".join(f"p{share} {length:,}" for share, length in self.quantiles.items())
        digits = len(f"{self.max:,}")
        ranges = [(f"{first:>{digits},} - {last:>{digits},}", samples) for first, last, samples in self.histogram]
        return "\n".join([self.headline(), f"min {self.min:,}  {quantiles}  max {self.max:,}", "", bars(ranges)])
