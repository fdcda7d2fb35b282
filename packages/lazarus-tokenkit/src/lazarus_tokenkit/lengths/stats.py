"""The shape of a length cache: quantiles and a histogram, from how often each length occurs: memory for lengths, not rows."""

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
"""In a line that was just written; quotation marks inside an id are escaped."""


class LengthTally:
    """Counts rows as they are written."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._loss_tokens = 0

    def add(self, lines: Iterable[bytes]) -> None:
        """Lines of a length cache."""
        for line in lines:
            found = _LENGTHS.search(line)
            assert found is not None, "written by `row_line`"
            self._counts[int(found[1])] += 1
            self._loss_tokens += int(found[2])

    @property
    def stats(self) -> "LengthStats":
        """Of what was counted so far."""
        return LengthStats.of_counts(self._counts, self._loss_tokens)


@dataclass(frozen=True)
class LengthStats:
    """Lengths in tokens.

    Args:
        count: Number of samples.
        tokens: Their tokens together.
        loss_tokens: Tokens that carry loss, or None where the cache does not tell.
        min: The shortest.
        quantiles: Nearest-rank lengths by per cent: a share of that many samples is at most that long.
        max: The longest.
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
        """Counts a length cache.

        >>> from lazarus_plan import LengthRow
        >>> LengthStats.of(LengthCache.from_rows([LengthRow("a", 3), LengthRow("b", 5)])).quantiles
        {50: 3, 90: 5, 99: 5}
        """
        lengths, counts = np.unique(cache.length, return_counts=True)
        loss_tokens = None if cache.loss_tokens is None else int(cache.loss_tokens.sum())
        return cls.of_counts(dict(zip(lengths.tolist(), counts.tolist(), strict=True)), loss_tokens)

    @classmethod
    def of_counts(cls, occurrences: Mapping[int, int], loss_tokens: int | None) -> "LengthStats":
        """From how often each length occurs; there is at least one."""
        lengths = np.array(sorted(occurrences), dtype=np.int64)
        counts = np.array([occurrences[length] for length in lengths.tolist()], dtype=np.int64)
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
        """As it is printed with `--json`."""
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
        """Samples and tokens in one line."""
        loss = "" if self.loss_tokens is None else f", {self.loss_tokens:,} with loss"
        samples, tokens = ("" if count == 1 else "s" for count in (self.count, self.tokens))
        return f"{self.count:,} sample{samples}, {self.tokens:,} token{tokens}{loss}"

    def text(self) -> str:
        """As it is printed for people."""
        quantiles = "  ".join(f"p{share} {length:,}" for share, length in self.quantiles.items())
        digits = len(f"{self.max:,}")
        ranges = [(f"{first:>{digits},} - {last:>{digits},}", samples) for first, last, samples in self.histogram]
        return "\n".join([self.headline(), f"min {self.min:,}  {quantiles}  max {self.max:,}", "", bars(ranges)])
