"""Scores of a task: each metric with its interval and its baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite
from typing import Any, Literal

import numpy as np

from lazarus_models.errors import EvaluationError
from lazarus_models.evaluation.intervals import Numbers, bootstrap_interval, wilson_interval
from lazarus_models.evaluation.task import BaselineKind, Better, Item, Metric, TaskResult

Interval = Literal["wilson", "bootstrap", "none"]
NOT_FINITE = "LM-E509"


@dataclass(frozen=True)
class Score:
    """One figure of a report.

    Args:
        task: Name of the task.
        metric: Name of the metric.
        value: The figure.
        low: Lower end of its 95 % interval; None where the items show no variation.
        high: Upper end.
        baseline: The same figure of a trivial predictor; None if there is none.
        count: Number of items.
        better: Direction of improvement.
        interval: How the interval was computed.
        baseline_kind: Which predictor the baseline is of.
        p: p-value of a paired test of two models; None for the score of one model.
    """

    task: str
    metric: str
    value: float
    low: float | None
    high: float | None
    baseline: float | None
    count: int
    better: Better
    interval: Interval
    baseline_kind: BaselineKind
    p: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The score by name; `p` only where there is one."""
        found = dict(vars(self))
        if self.p is None:
            del found["p"]
        return found


def scores_of(task: str, result: TaskResult, *, seed: int = 0) -> list[Score]:
    """The scores of a task's result.

    Args:
        task: Name of the task.
        result: Metrics and items.
        seed: Random seed of the bootstrap.

    Raises:
        EvaluationError: A value is not finite.
    """
    return [_score(task, metric, result.items, seed) for metric in result.metrics]


def fractions(task: str, metric: str, items: Sequence[Item]) -> tuple[Numbers, Numbers]:
    """Numerators and denominators of a metric, (N,) each; items without the metric are left out.

    Args:
        task: Name of the task, for messages.
        metric: Name of the metric.
        items: The items.

    Raises:
        EvaluationError: A value is not finite.
    """
    wrong = next((each.id for each in items if not all(map(isfinite, each.values.get(metric, ())))), None)
    if wrong is not None:
        raise EvaluationError(
            f"{task}: `{metric}` of item {wrong} is not finite: the model gives NaN or excludes a token of the text; "
            "check its weights",
            NOT_FINITE,
        )
    pairs = [each.values[metric] for each in items if metric in each.values]
    table = np.array(pairs, dtype=np.float64).reshape(len(pairs), 2)
    return table[:, 0], table[:, 1]


def _score(task: str, metric: Metric, items: Sequence[Item], seed: int) -> Score:
    numerators, denominators = fractions(task, metric.name, items)
    count = len(numerators)
    ratio = float(numerators.sum() / denominators.sum())
    ends: tuple[float, float] | None
    method: Interval
    match metric.kind:
        case "proportion":
            ends, method = wilson_interval(float(numerators.sum()), count), "wilson"
        case "perplexity":
            ends, method = bootstrap_interval(numerators, denominators, seed=seed, figure=np.exp), "bootstrap"
        case "mean":
            ends, method = bootstrap_interval(numerators, denominators, seed=seed), "bootstrap"
    value = exp(ratio) if metric.kind == "perplexity" else ratio
    low, high = ends or (None, None)
    return Score(
        task,
        metric.name,
        value,
        low,
        high,
        metric.baseline,
        count,
        metric.better,
        method if ends else "none",
        metric.baseline_kind,
    )
