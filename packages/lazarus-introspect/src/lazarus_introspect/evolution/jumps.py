"""The interval in which a number changes most, against the typical change."""

import numpy as np

from lazarus_introspect.analysis.settings import Frozen

MIN_INTERVALS = 5
"""Of fewer intervals, no p-value says anything."""
_SAMPLES = 10_000
"""Random series of the null; the smallest p-value is 1e-4."""


class Jump(Frozen):
    """The interval with the largest change a step."""

    first_step: int
    """Steps that were trained before the interval."""
    last_step: int
    """Steps that were trained after it: the interval is the steps first_step to last_step - 1, from 0."""
    before: float
    after: float
    change: float
    typical: float
    """Median absolute change of the other intervals over as many steps."""
    ratio: float | None
    """Effect size: |change| / typical; None if the others do not change."""
    p: float | None
    """Chance of an interval this far from the mean, if the changes a step are draws of one normal distribution (Grubbs'
    statistic, 10,000 random series); None for fewer than 5 intervals."""
    intervals: int
    """Intervals that were compared."""
    null: str = "changes a step of all intervals are draws of one normal distribution"


def largest_jump(steps: list[int], values: list[float], *, seed: int = 0) -> Jump:
    """Finds the interval of the largest change a step, and how unusual it is.

    Args:
        steps: Steps of the checkpoints, ascending, at least two.
        values: The number at each.
        seed: Random seed of the null.

    >>> found = largest_jump([0, 1, 2, 3, 4, 5, 6], [0.0, 0.1, 0.2, 0.29, 2.3, 2.4, 2.52])
    >>> found.first_step, found.last_step, round(found.ratio), found.p < 0.01
    (3, 4, 20, True)
    """
    rates = np.diff(values) / np.diff(steps)
    place = int(np.abs(rates).argmax())
    others = np.delete(np.abs(rates), place)
    length = steps[place + 1] - steps[place]
    typical = float(np.median(others)) * length if others.size else 0.0
    change = values[place + 1] - values[place]
    return Jump(
        first_step=steps[place],
        last_step=steps[place + 1],
        before=values[place],
        after=values[place + 1],
        change=change,
        typical=typical,
        ratio=abs(change) / typical if typical else None,
        p=_p_value(rates, place, seed) if len(rates) >= MIN_INTERVALS else None,
        intervals=len(rates),
    )


def _p_value(rates: "np.ndarray[tuple[int], np.dtype[np.float64]]", place: int, seed: int) -> float | None:
    """The share of normal series with an outlier at least as far out as this interval."""
    spread = rates.std(ddof=1)
    if spread == 0:
        return None
    observed = abs(rates[place] - rates.mean()) / spread
    random = np.random.default_rng(seed).normal(size=(_SAMPLES, len(rates)))
    scaled = np.abs(random - random.mean(axis=1, keepdims=True)) / random.std(axis=1, ddof=1, keepdims=True)
    return float((1 + (scaled.max(axis=1) >= observed - 1e-12).sum()) / (_SAMPLES + 1))
