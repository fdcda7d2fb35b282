"""Tables of reports: one for the terminal, and Markdown, CSV and JSON over several runs."""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lazarus_core.errors import LazarusError
from lazarus_core.html import PAGE
from lazarus_core.outputs import OutputKind, begins_with
from lazarus_core.strict_json import read_object
from lazarus_models.evaluation.report import MAX_REPORT_BYTES, EvaluationReport
from lazarus_models.evaluation.scores import Score
from lazarus_models.evaluation.thresholds import Thresholds

Format = Literal["markdown", "csv", "json", "html"]
KEY = "evaluation_table_version"
VERSION = 1
"""Version of the JSON table."""
HEAD = "# Evaluation of "
FIELDS = (
    *("run", "model", "task", "metric", "value", "low", "high", "baseline", "baseline_kind", "count", "better"),
    *("interval", "p", "grade"),
)


class Run(NamedTuple):
    """A report with its name in the table."""

    name: str
    report: EvaluationReport


def named_runs(paths: Sequence[Path], reports: Sequence[EvaluationReport]) -> list[Run]:
    """Names the reports: by their files, with folders where two files have the same name.

    Args:
        paths: The files.
        reports: The report of each.
    """
    counts = Counter(path.stem for path in paths)
    names = [path.stem if counts[path.stem] == 1 else path.with_suffix("").as_posix() for path in paths]
    again = Counter(names)
    numbered = [name if again[name] == 1 else f"{name} ({place})" for place, name in enumerate(names, 1)]
    return [Run(name, report) for name, report in zip(numbered, reports, strict=True)]


def score_keys(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Task and metric of every score, in the order in which the reports have them."""
    return list(dict.fromkeys((score.task, score.metric) for run in runs for score in run.report.scores))


def score_table(scores: Sequence[Score], thresholds: Thresholds | None = None) -> str:
    """A table for the terminal: one line a score.

    Args:
        scores: The scores.
        thresholds: Grades; None for none.
    """
    head = ("task", "metric", "value", "95% interval", "baseline", "items")
    lines = [
        [score.task, score.metric, figure(score.value), ends(score), baseline(score), str(score.count)]
        for score in scores
    ]
    if thresholds is not None:
        head = (*head, "grade")
        lines = [[*line, thresholds.grade(score) or "-"] for line, score in zip(lines, scores, strict=True)]
    if any(score.p is not None for score in scores):
        head = (*head, "p")
        lines = [
            [*line, "-" if score.p is None else figure(score.p)] for line, score in zip(lines, scores, strict=True)
        ]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *lines)
    )


def markdown_table(runs: Sequence[Run], thresholds: Thresholds | None = None) -> str:
    """A table in Markdown: one line a score, one column a run.

    Args:
        runs: The reports.
        thresholds: Grades; None for none.
    """
    names = [_cell(run.name) for run in runs]
    head = ["task", "metric", "better", "baseline", *names]
    lines = [
        f"{HEAD}{', '.join(names)}",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
    ]
    for task, metric in score_keys(runs):
        found = [_find(run, task, metric) for run in runs]
        first = next(score for score in found if score is not None)
        cells = [_cell(task), metric, first.better, baseline(first)]
        lines.append(f"| {' | '.join([*cells, *(with_interval(score, thresholds) for score in found)])} |")
    models = [f"- {_cell(run.name)}: {_cell(about(run.report))}" for run in runs]
    return "\n".join([*lines, "", "Values with their 95 % intervals.", "", *models])


def csv_table(runs: Sequence[Run], thresholds: Thresholds | None = None) -> str:
    """Comma-separated values: one line for each score of each run.

    Args:
        runs: The reports.
        thresholds: Grades; None for none.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_long(run, score, thresholds) for run in runs for score in run.report.scores)
    return text.getvalue().removesuffix("\n")


def json_table(runs: Sequence[Run], thresholds: Thresholds | None = None) -> str:
    """JSON: the models, and one object for each score of each run.

    Args:
        runs: The reports.
        thresholds: Grades; None for none.
    """
    found = {
        KEY: VERSION,
        "runs": [{"name": run.name, "model": run.report.model, "versions": run.report.versions} for run in runs],
        "scores": [_long(run, score, thresholds) for run in runs for score in run.report.scores],
    }
    return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False)


def about(report: EvaluationReport) -> str:
    """The model of a report in a few words."""
    model: Mapping[str, Any] = report.model
    said = [f"{model.get('name')}", f"{model.get('family')}"]
    parameters = model.get("parameters")
    if isinstance(parameters, int):
        said.append(f"{parameters:,} parameters")
    if model.get("quantization"):
        said.append(f"{model['quantization']} bits")
    if model.get("adapter"):
        said.append("with an adapter")
    if report.reference is not None:
        said.append(f"against {report.reference.get('name')}")
    return ", ".join(said)


def figure(value: float) -> str:
    """A number with four digits.

    >>> figure(0.123456), figure(1234.5), figure(512.0), figure(3e-9)
    ('0.1235', '1,234', '512', '3e-09')
    """
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def ends(score: Score) -> str:
    """The interval of a score."""
    return "-" if score.low is None or score.high is None else f"{figure(score.low)} to {figure(score.high)}"


def baseline(score: Score) -> str:
    """The baseline of a score, and of which predictor it is."""
    return "-" if score.baseline is None else f"{figure(score.baseline)} ({score.baseline_kind})"


def with_interval(score: Score | None, thresholds: Thresholds | None = None) -> str:
    """A score, its interval and its grade in one cell.

    Args:
        score: The score; None for a run without it.
        thresholds: Grades; None for none.
    """
    if score is None:
        return "-"
    text = figure(score.value) if score.low is None else f"{figure(score.value)} ({ends(score)})"
    grade = None if thresholds is None else thresholds.grade(score)
    return text if grade is None else f"{text} {_cell(grade)}"


def _find(run: Run, task: str, metric: str) -> Score | None:
    return next((each for each in run.report.scores if (each.task, each.metric) == (task, metric)), None)


def _long(run: Run, score: Score, thresholds: Thresholds | None) -> dict[str, Any]:
    grade = None if thresholds is None else thresholds.grade(score)
    return {"run": run.name, "model": run.report.model.get("name"), **vars(score), "grade": grade}


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _is_table(path: Path) -> bool:
    if PAGE.is_own(path) or begins_with(f"{HEAD}|{','.join(FIELDS)}")(path):
        return True
    try:
        return KEY in read_object(path, max_bytes=MAX_REPORT_BYTES)
    except LazarusError:
        return False


TABLE = OutputKind("a table of evaluations", _is_table)
"""What `lazarus eval report` writes, in each format."""
