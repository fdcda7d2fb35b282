"""Calibration: whether a confidence of 0.8 is right in 8 of 10 cases.

n = answers
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lazarus_introspect.errors import RequestError
from lazarus_introspect.probing.scores import Interval, permutation_p
from lazarus_introspect.probing.selectivity import ranked

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]
_DRAWS = 2000


class Bin(NamedTuple):
    """Answers with similar confidence."""

    low: float
    high: float
    answers: int
    confidence: float | None
    """Mean; None for an empty bin."""
    accuracy: float | None


class Calibration(NamedTuple):
    """Figures of confidences and whether the answers were right."""

    accuracy: float
    confidence: float
    """Mean."""
    bins: tuple[Bin, ...]
    ece: float
    """Expected calibration error: mean distance of confidence and accuracy over the bins, weighted by answers, in [0, 1]."""
    ece_interval: Interval
    ece_null: float
    """Mean error of answers that are right with exactly the stated probability: what so few answers give by chance."""
    ece_p: float
    """Share of such draws with at least this error."""
    brier: float
    """Mean squared distance of confidence and outcome, in [0, 1]."""
    brier_interval: Interval
    brier_baseline: float
    """That of a constant confidence equal to the accuracy."""
    auroc: float | None
    """Chance that a right answer has more confidence than a wrong one; None if all are right or all wrong."""
    auroc_interval: Interval | None


def calibrate(confidences: Numbers, right: Flags, *, bins: int = 10, seed: int = 0) -> Calibration:
    """Figures of calibration with 95 % bootstrap intervals.

    Args:
        confidences: In [0, 1], (n,).
        right: Whether each answer is right, (n,).
        bins: Bins of equal width.
        seed: Random seed of the bootstrap and of the null.

    Raises:
        RequestError: There is no answer, or a confidence is outside [0, 1].
    """
    if not len(confidences) or len(confidences) != len(right):
        raise RequestError(f"{len(confidences)} confidences for {len(right)} answers: give one for each", "LI-E088")
    if not ((confidences >= 0) & (confidences <= 1)).all():
        raise RequestError("a confidence is outside 0 to 1: give probabilities", "LI-E088")
    outcome = right.astype(float)
    ece = calibration_error(confidences, outcome, bins)
    rng = np.random.default_rng([seed, 10])
    drawn = rng.integers(0, len(outcome), (_DRAWS, len(outcome)))
    errors = _errors(confidences[drawn], outcome[drawn], bins)
    squares = (confidences - outcome) ** 2
    chance = (rng.random((_DRAWS, len(outcome))) < confidences).astype(float)
    null = _errors(np.broadcast_to(confidences, chance.shape), chance, bins)
    area = auroc(confidences, right)
    areas = _areas(confidences[drawn], right[drawn])
    return Calibration(
        accuracy=float(outcome.mean()),
        confidence=float(confidences.mean()),
        bins=binned(confidences, outcome, bins),
        ece=ece,
        ece_interval=_middle(errors),
        ece_null=float(null.mean()),
        ece_p=permutation_p(ece, null),
        brier=float(squares.mean()),
        brier_interval=_middle(squares[drawn].mean(axis=1)),
        brier_baseline=float(outcome.mean() * (1 - outcome.mean())),
        auroc=area,
        auroc_interval=None if area is None else _middle(areas),
    )


def _middle(values: Numbers) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(low), float(high))


def _bin_of(confidences: Numbers, bins: int) -> NDArray[np.int64]:
    """The bin of each confidence; 1 is in the last."""
    return np.minimum((confidences * bins).astype(np.int64), bins - 1)


def calibration_error(confidences: Numbers, outcome: Numbers, bins: int) -> float:
    """The expected calibration error over bins of equal width (Naeini et al. 2015).

    Args:
        confidences: In [0, 1], (n,).
        outcome: 1 for a right answer, else 0, (n,).
        bins: Number of bins.

    >>> round(calibration_error(np.array([0.9, 0.9, 0.1]), np.array([1.0, 0.0, 0.0]), 10), 4)
    0.3
    """
    return float(_errors(confidences[None], outcome[None], bins)[0])


def _errors(confidences: Numbers, outcome: Numbers, bins: int) -> Numbers:
    """The expected calibration error of each row, (draws,); both arguments are (draws, n)."""
    draws = len(outcome)
    place = _bin_of(confidences, bins) + np.arange(draws)[:, None] * bins
    gap = np.bincount(place.ravel(), (confidences - outcome).ravel(), draws * bins).reshape(draws, bins)
    return np.abs(gap).sum(axis=1) / outcome.shape[1]


def binned(confidences: Numbers, outcome: Numbers, bins: int) -> tuple[Bin, ...]:
    """The bins of a reliability diagram.

    Args:
        confidences: In [0, 1], (n,).
        outcome: 1 for a right answer, else 0, (n,).
        bins: Number of bins.
    """
    place = _bin_of(confidences, bins)
    found: list[Bin] = []
    for each in range(bins):
        own = place == each
        means = [float(values[own].mean()) if own.any() else None for values in (confidences, outcome)]
        found.append(Bin(each / bins, (each + 1) / bins, int(own.sum()), means[0], means[1]))
    return tuple(found)


def auroc(confidences: Numbers, right: Flags) -> float | None:
    """The area under the ROC curve; None if all answers are right or all wrong.

    Args:
        confidences: Any scores, (n,).
        right: Whether each answer is right, (n,).

    >>> auroc(np.array([0.9, 0.8, 0.3]), np.array([True, False, False]))
    1.0
    """
    areas = _areas(confidences[None], right[None])
    return float(areas[0]) if len(areas) else None


def _areas(confidences: Numbers, right: Flags) -> Numbers:
    """The areas of the rows that have right and wrong answers; both arguments are (draws, n)."""
    good = right.sum(axis=1)
    bad = right.shape[1] - good
    known = (good > 0) & (bad > 0)
    ranks = ranked(confidences[known].T)[0].T
    sums = (ranks * right[known]).sum(axis=1)
    return (sums - good[known] * (good[known] + 1) / 2) / (good[known] * bad[known])
