"""A page over reports: the scores, and how they change from run to run."""

import re
from collections.abc import Sequence
from html import escape

import numpy as np

from lazarus_core.html import (
    Curve,
    Origin,
    curves,
    facts,
    in_words,
    more,
    page,
    section,
    table,
    unbroken,
)
from lazarus_models.evaluation.scores import Score
from lazarus_models.evaluation.tables import Run, about, baseline, ends, figure, score_keys
from lazarus_models.evaluation.thresholds import Thresholds

MAX_CHARTS = 24
"""Scores that are drawn; the table has all."""


def evaluation_page(runs: Sequence[Run], thresholds: Thresholds | None = None, *, origin: Origin | None = None) -> str:
    """Builds the page.

    Args:
        runs: The reports, one or more.
        thresholds: Grades; None for none.
        origin: Command and time for the footer; None for none.
    """
    title = f"Evaluation of {in_words([run.name for run in runs])}"
    keys = score_keys(runs)
    found = {key: [_find(run, *key) for run in runs] for key in keys}
    content = (
        f"<header><h1>{escape(title)}</h1><p>{escape('; '.join(about(run.report) for run in runs[:3]))}</p></header>"
    )
    content += section("Scores", "Each with its 95 % interval and its baseline.", _table(runs, found, thresholds))
    drawn = [key for key in keys if sum(score is not None for score in found[key]) > 0][:MAX_CHARTS]
    content += "".join(_chart(key, found[key]) for key in drawn)
    content += section("Models and data", "", "".join(_facts(run) for run in runs))
    return page(title, content, "lazarus-models", origin=origin)


def _table(runs: Sequence[Run], found: dict[tuple[str, str], list[Score | None]], thresholds: Thresholds | None) -> str:
    grades = thresholds is not None
    head = ("task", "metric", "run", "value", "95 % interval", "baseline", "items", *(("grade",) if grades else ()))
    rows = [
        (
            unbroken(task),
            unbroken(metric),
            unbroken(run.name),
            figure(score.value),
            ends(score),
            baseline(score),
            f"{score.count:,}",
            *((thresholds.grade(score) or "-",) if thresholds is not None else ()),
        )
        for (task, metric), scores in found.items()
        for run, score in zip(runs, scores, strict=True)
        if score is not None
    ]
    return table(head, rows, numbers=(3, 6))


def _chart(key: tuple[str, str], scores: Sequence[Score | None]) -> str:
    """Value, interval and baseline by the number of the run."""
    placed = [(number, score) for number, score in enumerate(scores, 1) if score is not None]
    steps = np.array([number for number, _ in placed])
    series = [Curve(steps, np.array([score.value for _, score in placed]), 0, "value")]
    for colour, name in ((1, "low"), (2, "high"), (3, "baseline")):
        values = [getattr(score, name) for _, score in placed]
        if all(value is not None for value in values):
            series.append(Curve(steps, np.array(values, dtype=np.float64), colour, name))
    better = placed[0][1].better
    words = {"higher": "Higher is better.", "lower": "Lower is better.", "neither": ""}[better]
    return section(f"{key[0]}: {key[1]}", words, curves(series, key[1], across="run"))


def _facts(run: Run) -> str:
    """The model, its files, the data and the software; of digests the first 16 digits, as the JSON report has all."""
    report = run.report
    named = {
        "model": about(report),
        **{f"file {name}": digest for name, digest in report.model.get("files", {}).items()},
        "tokenizer": str(report.model.get("tokenizer")),
        **{
            f"{task.name}: {name}": f"{digest} ({task.items:,} {task.unit})"
            for task in report.tasks
            for name, digest in task.data.items()
        },
        **report.versions,
    }
    return more(
        run.name,
        facts({name: re.sub(r"\b([0-9a-f]{16})[0-9a-f]{48}\b", r"\1...", text) for name, text in named.items()}),
    )


def _find(run: Run, task: str, metric: str) -> Score | None:
    return next((each for each in run.report.scores if (each.task, each.metric) == (task, metric)), None)
