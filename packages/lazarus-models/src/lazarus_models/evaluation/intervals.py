"""Intervals and tests of scores: how much a figure varies between samples of items like these.

| figure | interval or test | source |
|---|---|---|
| proportion | Wilson's score interval | E. B. Wilson, JASA 22 (1927) 209 |
| mean, ratio of sums | percentile bootstrap over items | B. Efron, Annals of Statistics 7 (1979) 1 |
| paired right and wrong answers | exact McNemar test | Q. McNemar, Psychometrika 12 (1947) 153 |
| paired numbers | exact sign test | W. J. Dixon, A. M. Mood, JASA 41 (1946) 557 |
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from math import comb, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
"""Share of samples whose interval contains the true figure."""
NUM_RESAMPLES = 1000
_Z = 1.959963984540054
"""The 97.5 % point of the normal distribution."""
_COUNTS = 4_000_000
"""Largest number of resampling counts in memory at a time: 32 MB."""

Numbers = NDArray[np.float64]
Figure = Callable[[Any], Any]


def wilson_interval(successes: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion. It is valid for few items, and near 0 and 1.

    >>> [round(end, 4) for end in wilson_interval(61, 80)]
    [0.6586, 0.8424]

    Args:
        successes: Number of successes, 0 to `count`; a tie may count one half.
        count: Number of items, at least 1.
    """
    p, z2 = successes / count, _Z * _Z
    centre = (p + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z / (1 + z2 / count) * sqrt(p * (1 - p) / count + z2 / (4 * count * count))
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))


def bootstrap_interval(
    numerators: Numbers, denominators: Numbers, *, seed: int = 0, figure: Figure | None = None
) -> tuple[float, float] | None:
    """The 95 % percentile interval of a ratio of sums, such as bits over bytes.

    A resample draws N items with replacement. With denominators of 1 the ratio is the mean.

    Args:
        numerators: One number an item, (N,).
        denominators: Positive, (N,).
        seed: Random seed of the resamples.
        figure: Increasing function of the ratio, such as the exponential of a mean loss; None for the ratio.

    Returns:
        Lower and upper end; None for fewer than two items, which show no variation.
    """
    count = len(numerators)
    if count < 2:
        return None
    ratios = np.concatenate([counts @ numerators / (counts @ denominators) for counts in _resamples(count, seed)])
    low, high = np.quantile((figure or _same)(ratios), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def paired_difference(
    ours: Numbers, others: Numbers, units: Numbers, *, seed: int = 0, is_exponential: bool = False
) -> tuple[float, tuple[float, float] | None]:
    """The difference of two ratios of sums over the same items, with its 95 % interval.

    Both ratios are resampled with the same items, so what the items have in common cancels.

    Args:
        ours: Numerators of the first model, (N,).
        others: Numerators of the second model, (N,).
        units: Denominators of both, positive, (N,).
        seed: Random seed of the resamples.
        is_exponential: Take the difference of the exponentials of the ratios, such as perplexities.

    Returns:
        The first minus the second, and the interval; None for fewer than two items.
    """
    figure: Figure = np.exp if is_exponential else _same
    total = units.sum()
    value = float(figure(ours.sum() / total) - figure(others.sum() / total))
    if len(units) < 2:
        return value, None
    parts = [
        figure(counts @ ours / (counts @ units)) - figure(counts @ others / (counts @ units))
        for counts in _resamples(len(units), seed)
    ]
    low, high = np.quantile(np.concatenate(parts), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return value, (float(low), float(high))


def _same(ratio: Any) -> Any:
    return ratio


def _resamples(count: int, seed: int) -> Iterator[Numbers]:
    """How often each item is in each resample, in blocks (R, N) of bounded memory."""
    rng = np.random.default_rng(seed)
    step = max(1, _COUNTS // count)
    for done in range(0, NUM_RESAMPLES, step):
        size = min(step, NUM_RESAMPLES - done)
        yield rng.multinomial(count, np.full(count, 1 / count), size=size).astype(np.float64)


def sign_test(wins: int, losses: int) -> float:
    """Two-sided p-value of the exact sign test. Of right and wrong answers, it is the exact McNemar test.

    Under the null hypothesis each of the items that differ is a win with probability 1/2.

    >>> sign_test(9, 1), sign_test(3, 3)
    (0.021484375, 1.0)

    Args:
        wins: Items on which the first of two models is better.
        losses: Items on which the second one is better.
    """
    total, fewer = wins + losses, min(wins, losses)
    tail = sum(comb(total, each) for each in range(fewer + 1))
    return float(min(Fraction(1), Fraction(2 * tail, 2**total)))
