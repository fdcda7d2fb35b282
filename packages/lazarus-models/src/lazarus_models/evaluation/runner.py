"""Evaluates a model on tasks, or two models on the same items."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lazarus_models.errors import EvaluationError
from lazarus_models.evaluation.data import digests_of
from lazarus_models.evaluation.intervals import LEVEL, NUM_RESAMPLES, paired_difference, sign_test
from lazarus_models.evaluation.model_card import model_card, versions
from lazarus_models.evaluation.pairing import paired
from lazarus_models.evaluation.registry import load_task
from lazarus_models.evaluation.report import EvaluationReport, TaskReport
from lazarus_models.evaluation.scores import Score, fractions, scores_of
from lazarus_models.evaluation.task import Item, Metric, Subject, TaskResult, TaskSettings
from lazarus_models.loading.loaded_model import LoadedModel

Progress = Callable[[str, int, int], object]
NO_REFERENCE = "LM-E504"


def no_progress(task: str, done: int, total: int) -> None:
    """Ignores the progress.

    Args:
        task: Name of the task.
        done: Number of finished items.
        total: Number of all items.
    """


def no_result(task: str, result: TaskResult) -> None:
    """Ignores the items.

    Args:
        task: Name of the task.
        result: Its items.
    """


def evaluate(
    model: LoadedModel,
    tasks: Sequence[TaskSettings],
    *,
    reference: LoadedModel | None = None,
    batch_size: int = 8,
    adapters: Mapping[str, str] | None = None,
    on_progress: Progress = no_progress,
    on_result: Callable[[str, TaskResult], object] = no_result,
) -> EvaluationReport:
    """Evaluates a model on tasks.

    Args:
        model: The model. `load(..., hashed=True)` gives the report its files' digests.
        tasks: Settings of each task, with distinct names.
        reference: The model that `preference` and `forgetting` compare with; None for none.
        batch_size: Largest number of answers that are generated together.
        adapters: Digests of the files of an adapter that `model` has, by name.
        on_progress: Called with the name of the task, and the numbers of finished and of all items.
        on_result: Called with the name and the items of each task.

    Raises:
        EvaluationError: A task, its data or its combination with the models cannot be used.
    """
    check_tasks(tasks, has_reference=reference is not None)
    found: list[TaskReport] = []
    scores: list[Score] = []
    for settings in tasks:
        result = _run(model, reference, settings, batch_size, on_progress)
        on_result(settings.label, result)
        scores += scores_of(settings.label, result, seed=settings.seed)
        found.append(_task_report(settings, result))
    return _report(model, reference, adapters, batch_size, found, scores)


def compare_models(
    model: LoadedModel,
    other: LoadedModel,
    tasks: Sequence[TaskSettings],
    *,
    batch_size: int = 8,
    adapters: Mapping[str, str] | None = None,
    on_progress: Progress = no_progress,
    on_result: Callable[[str, TaskResult], object] = no_result,
) -> EvaluationReport:
    """Evaluates two models on the same items.

    Each metric has three scores: of `model`, of `other` (`METRIC_other`), and the difference of both (`METRIC_difference`). The
    interval of a difference is a paired bootstrap over items; `p` is of the exact McNemar test for right and wrong answers, and
    of the exact sign test for other figures.

    Args:
        model: The first model.
        other: The second model.
        tasks: Settings of each task, with distinct names. Tasks that need a reference model are refused.
        batch_size: Largest number of answers that are generated together.
        adapters: Digests of the files of an adapter that `model` has, by name.
        on_progress: Called with the name of the task, and the numbers of finished and of all items of one model.
        on_result: Called with the name and the items of each task and model.

    Raises:
        EvaluationError: A task or its data cannot be used, or the models have different items.
    """
    check_tasks(tasks, has_reference=False)
    found: list[TaskReport] = []
    scores: list[Score] = []
    for settings in tasks:
        ours, others = (_run(lm, None, settings, batch_size, on_progress) for lm in (model, other))
        on_result(settings.label, ours)
        on_result(f"{settings.label} (other)", others)
        scores += _compared(settings, ours, others)
        found.append(_task_report(settings, ours))
    return _report(model, other, adapters, batch_size, found, scores)


def check_tasks(tasks: Sequence[TaskSettings], *, has_reference: bool) -> None:
    """Refuses tasks before any of them runs.

    Args:
        tasks: The tasks.
        has_reference: Whether there is a reference model.

    Raises:
        EvaluationError: There is no task, two have the same name, one needs a reference model, or none uses the one given.
    """
    if not tasks:
        raise EvaluationError("there is no task to evaluate; give one or more", "LM-E503")
    names = [each.label for each in tasks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise EvaluationError(f"two tasks have the name {twice!r}; set `name` of one of them", "LM-E501")
    for each in tasks:
        if load_task(each.kind).reference == "needed" and not has_reference:
            raise EvaluationError(f"the task {each.label!r} needs a reference model: give `reference`", NO_REFERENCE)
    if has_reference and all(load_task(each.kind).reference == "none" for each in tasks):
        raise EvaluationError("none of the tasks uses `reference`: remove it", NO_REFERENCE)


def _run(
    model: LoadedModel,
    reference: LoadedModel | None,
    settings: TaskSettings,
    batch_size: int,
    on_progress: Progress,
) -> TaskResult:
    def tell(done: int, total: int) -> None:
        on_progress(settings.label, done, total)

    result = load_task(settings.kind).run(Subject(model, reference, batch_size, tell), settings)
    if not result.items:
        raise EvaluationError(f"the task {settings.label!r} has no items; give a file with items", "LM-E503")
    return result


def _compared(settings: TaskSettings, ours: TaskResult, others: TaskResult) -> list[Score]:
    pairs = paired(settings.label, ours.items, others.items)
    theirs = {each.metric: each for each in scores_of(settings.label, others, seed=settings.seed)}
    scores: list[Score] = []
    for metric, own in zip(ours.metrics, scores_of(settings.label, ours, seed=settings.seed), strict=True):
        if metric.name not in theirs:  # as the diversity of answers that are all empty
            continue
        scores += [own, replace(theirs[metric.name], metric=f"{metric.name}_other")]
        difference = _difference(settings, metric, pairs)
        if difference is not None:
            scores.append(difference)
    return scores


def _difference(settings: TaskSettings, metric: Metric, pairs: Sequence[tuple[Item, Item]]) -> Score | None:
    """The difference of two models; None for figures of unequal units, such as the perplexities of two tokenizers."""
    task = settings.label
    have = [pair for pair in pairs if all(metric.name in each.values for each in pair)]
    if not have:
        return None
    ours, units = fractions(task, metric.name, [one for one, _ in have])
    others, other_units = fractions(task, metric.name, [other for _, other in have])
    if not np.array_equal(units, other_units):
        return None
    value, ends = paired_difference(ours, others, units, seed=settings.seed, is_exponential=metric.kind == "perplexity")
    shares = np.divide(ours - others, units, out=np.zeros_like(ours), where=units > 0)
    low, high = ends or (None, None)
    return Score(
        task,
        f"{metric.name}_difference",
        value,
        low,
        high,
        0.0,
        len(have),
        metric.better,
        "bootstrap" if ends else "none",
        "reference",
        sign_test(int((shares > 0).sum()), int((shares < 0).sum())),
    )


def _task_report(settings: TaskSettings, result: TaskResult) -> TaskReport:
    values = settings.model_dump(mode="json")
    fields = type(settings).model_fields
    paths = {name: each for name in fields if isinstance(each := getattr(settings, name), Path)}
    return TaskReport(
        name=settings.label,
        kind=settings.kind,
        settings=values,
        data=digests_of(paths),
        items=len(result.items),
        unit=result.unit,
        notes=dict(result.notes),
    )


def _report(
    model: LoadedModel,
    reference: LoadedModel | None,
    adapters: Mapping[str, str] | None,
    batch_size: int,
    tasks: Sequence[TaskReport],
    scores: Sequence[Score],
) -> EvaluationReport:
    settings: dict[str, Any] = {"batch_size": batch_size, "interval": LEVEL, "resamples": NUM_RESAMPLES}
    return EvaluationReport(
        model=model_card(model, adapters or {}),
        reference=None if reference is None else model_card(reference, {}),
        tasks=tuple(tasks),
        scores=tuple(scores),
        settings=settings,
        versions=versions(),
    )
