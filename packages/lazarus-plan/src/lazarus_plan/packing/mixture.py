"""Choose the source of each row of a stage, so that every prefix keeps the weights to less than one row.

The j-th row of each source has a window of positions. Serving the earliest deadline first meets every window (Tijdeman
1980, "The chairman assignment problem"; the windows are those of Pfair scheduling). So for every n,
|rows of source i among the first n - n * weight_i / sum(weights)| < 1, in integers, whatever the weights.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from math import gcd

import numpy as np
from numpy.typing import NDArray

from lazarus_core.printable import listed
from lazarus_plan.config import PlanConfig, Stage, Until
from lazarus_plan.errors import PlanningError


def schedule(weights: Sequence[int], total: int) -> NDArray[np.int64]:
    """The source of each row, so that every source keeps to its share from the first row to the last.

    >>> schedule([3, 1, 1], 10).tolist()
    [0, 0, 1, 0, 2, 0, 0, 1, 0, 2]

    Args:
        weights: Share of rows of each source, integers >= 0, at least one above 0, (sources,).
        total: Number of rows, >= 1.

    Returns:
        0-based source of each row, int64 (total,). A source with weight 0 does not occur.
    """
    # Smallest equal ratio, so the period is as short as possible.
    weights = [weight // gcd(*weights) for weight in weights]
    period = sum(weights)  # after which every source has its exact share, and all begins again
    waiting: list[list[int]] = [[] for _ in range(min(period, total))]  # sources by the position that releases them
    waiting[0] = [source for source, weight in enumerate(weights) if weight]
    placed = [0] * len(weights)
    due: list[tuple[int, int]] = []  # (last position, source)
    order = np.empty(min(period, total), dtype=np.int64)
    for position in range(len(order)):
        # Row j (from 0) of a source is due by position ceil((j + 1) * period / weight) - 1.
        # Ties go to the lower source number.
        for source in waiting[position]:
            heappush(due, (-(-(placed[source] + 1) * period // weights[source]) - 1, source))
        _, source = heappop(due)
        order[position] = source
        placed[source] += 1
        # Row j may not come before floor(j * period / weight), nor at the position just used.
        release = max(placed[source] * period // weights[source], position + 1)
        if release < len(order):
            waiting[release].append(source)
    # resize repeats the period up to `total`.
    return np.resize(order, total)


def stage_weights(rows: Sequence[int], stage: Stage) -> tuple[Sequence[int], int]:
    """Weights and number of rows of a stage.

    Args:
        rows: Number of rows of each source, over all passes.
        stage: Requested stage.
    """
    if not stage.weights:
        return rows, sum(rows)
    return stage.weights, _weighted_total(rows, stage.weights, stage.until)


def stages_of(config: PlanConfig, num_sources: int) -> tuple[Stage, ...]:
    """The stages of an epoch, with all defaults filled in.

    Args:
        config: Resolved configuration.
        num_sources: Number of sources.

    Raises:
        PlanningError: A stage names an unknown source, a source is in no stage, or `repeats` has another length.
    """
    stages = config.stages or (Stage(sources=tuple(range(num_sources))),)
    named = {source for stage in stages for source in stage.sources}
    if named != set(range(num_sources)):
        odd = sorted(named ^ set(range(num_sources)))
        raise PlanningError(
            f"the stages name the sources {listed(sorted(named))}, and there are {num_sources}, numbered from 0: not matched {listed(odd)}",
            "LP-E133",
        )
    if config.repeats and len(config.repeats) != num_sources:
        raise PlanningError(f"{len(config.repeats)} `repeats` for {num_sources} length caches", "LP-E133")
    return stages


def _weighted_total(rows: Sequence[int], weights: Sequence[int], until: Until) -> int:
    """The number of rows after which all sources, or the first one, are exhausted."""
    # Rows of all sources until this one has given `have`, rounded up.
    counted = [-(-have * sum(weights) // weight) for have, weight in zip(rows, weights, strict=True)]
    if until == "all":
        return max(counted)
    return min(have * sum(weights) // weight for have, weight in zip(rows, weights, strict=True))
