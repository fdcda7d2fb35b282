"""Scores of predictions with their intervals: balanced accuracy and R2.

n = rows, C = classes. Rows of one group (equal prompts) share a weight of 1, so a repeated prompt counts once.
"""

from collections.abc import Sequence
from math import comb, log, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Ints = NDArray[np.int64]
_DRAWS = 4000
"""Draws of an interval: the error of its ends is about 0.2 standard deviations of a tail quantile / sqrt(100)."""


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


def row_weights(groups: Ints) -> Numbers:
    """1 / (rows of the group), for each row."""
    return 1.0 / np.bincount(groups)[groups]


def recalls(classes: Ints, predicted: Ints, weights: Numbers, count: int) -> Numbers:
    """The share of each class that is predicted rightly, (..., C); not a number for an empty class.

    Args:
        classes: True class of each row, (n,) or (n, P).
        predicted: Predicted class, of the same shape.
        weights: Weight of each row, (n,).
        count: Classes C.
    """
    right = (classes == predicted).astype(float)
    w = weights.reshape(-1, *([1] * (classes.ndim - 1)))
    shares = [((classes == each) * w * right).sum(axis=0) for each in range(count)]
    totals = [((classes == each) * w).sum(axis=0) for each in range(count)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack(shares, axis=-1) / np.stack(totals, axis=-1)


def balanced_accuracy(classes: Ints, predicted: Ints, weights: Numbers, count: int) -> Numbers:
    """The mean recall over the classes that occur; 1 / C for constant or random predictions.

    Args:
        classes: See `recalls`.
        predicted: See `recalls`.
        weights: See `recalls`.
        count: See `recalls`.
    """
    return np.nanmean(recalls(classes, predicted, weights, count), axis=-1)


def accuracy_interval(classes: Ints, predicted: Ints, weights: Numbers, count: int, *, seed: int) -> Interval:
    """A 95 % interval of balanced accuracy: quantiles of its posterior under flat priors (Brodersen et al. 2010).

    It never has the width 0, also where all predictions are right.

    Args:
        classes: True class of each row, (n,).
        predicted: Predicted class, (n,).
        weights: Weight of each row, (n,).
        count: Classes C.
        seed: Random seed of the draws.
    """
    rng = np.random.default_rng([seed, 3])
    right = classes == predicted
    draws = [
        rng.beta(1 + weights[is_own & right].sum(), 1 + weights[is_own & ~right].sum(), _DRAWS)
        for is_own in (classes == each for each in range(count))
    ]
    low, high = np.quantile(np.mean(draws, axis=0), [0.025, 0.975])
    found = float(balanced_accuracy(classes, predicted, weights, count))
    return Interval(min(float(low), found), max(float(high), found))


def r_squared(values: Numbers, predicted: Numbers, means: Numbers, weights: Numbers) -> Numbers:
    """1 - the squared error of predictions over that of the training means; below 0 for a useless model.

    Args:
        values: True value of each row, (n,) or (n, P).
        predicted: Prediction by a fit without the row, of the same shape.
        means: Mean of the values in the training rows of that fit, of the same shape.
        weights: Weight of each row, (n,).
    """
    w = weights.reshape(-1, *([1] * (values.ndim - 1)))
    total = (w * (values - means) ** 2).sum(axis=0)
    return 1 - (w * (values - predicted) ** 2).sum(axis=0) / np.maximum(total, np.finfo(float).tiny)


def r_squared_interval(values: Numbers, predicted: Numbers, means: Numbers, groups: Ints, *, seed: int) -> Interval:
    """A 95 % interval of R2 by a bootstrap over groups.

    Args:
        values: True value of each row, (n,).
        predicted: Prediction, (n,).
        means: Mean of the training rows, (n,).
        groups: Group of each row, (n,).
        seed: Random seed of the draws.
    """
    rng = np.random.default_rng([seed, 4])
    weights = row_weights(groups)
    error, total = (np.bincount(groups, weights * (values - other) ** 2) for other in (predicted, means))
    drawn = rng.integers(0, len(error), (_DRAWS // 2, len(error)))
    ratio = 1 - error[drawn].sum(axis=1) / np.maximum(total[drawn].sum(axis=1), np.finfo(float).tiny)
    low, high = np.quantile(ratio, [0.025, 0.975])
    return Interval(float(low), float(high))


def wilson(right: int, total: int) -> Interval:
    """The 95 % interval of a share (Wilson 1927).

    Args:
        right: Successes, 0 to `total`.
        total: Trials; 0 gives (0, 1).

    >>> tuple(round(each, 3) for each in wilson(9, 10))
    (0.596, 0.982)
    """
    if total == 0:
        return Interval(0.0, 1.0)
    z, share = 1.959963984540054, right / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return Interval(min(max(0.0, middle - half), share), max(min(1.0, middle + half), share))


def binomial_p(right: int, total: int, chance: float) -> float:
    """The probability of at least this many successes by chance, exactly.

    Args:
        right: Successes.
        total: Trials.
        chance: Probability of a success, in [0, 1].

    >>> round(binomial_p(9, 10, 0.5), 4)
    0.0107
    """
    if right <= 0 or chance >= 1:
        return 1.0
    if chance <= 0:
        return 0.0
    logs = [log(comb(total, k)) + k * log(chance) + (total - k) * log(1 - chance) for k in range(right, total + 1)]
    most = max(logs)
    return float(min(1.0, np.exp(most) * sum(np.exp(each - most) for each in logs)))


def permutation_p(observed: float, shuffled: Sequence[float] | Numbers) -> float:
    """The share of shuffles with at least the observed score, counting the observed one; never 0.

    Args:
        observed: Score of the true labels.
        shuffled: Scores of shuffled labels.
    """
    values = np.asarray(shuffled, float)
    return float((1 + (values >= observed - 1e-12).sum()) / (1 + len(values)))
