"""The mixture of a run with several data files: a table and a chart for the report page, and figures for programs.

K = sources, S = steps with a recorded mixture
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lazarus_core.html import Curve, curves, section, series_key, table
from lazarus_train.run_dir.metrics import JSON
from lazarus_train.run_dir.reader import RunRecord

_HEAD = ("source", "asked in the last step", "asked so far", "rows so far", "tokens so far")


class SourceShare(NamedTuple):
    """One source of a run.

    Args:
        name: File name of its data.
        weight: Share of the rows that the last step's stage asks for, 0 to 1.
        due: Share of the rows since the first step that the weights ask for, 0 to 1.
        rows: Rows since the first step.
        tokens: Tokens since the first step.
    """

    name: str
    weight: float
    due: float
    rows: int
    tokens: int


def source_shares(run: RunRecord) -> list[SourceShare]:
    """The sources of a run after its last step; empty if the run has one source or records no mixture."""
    _, lines = _recorded(run)
    if not lines:
        return []
    weights = _weights(lines)
    rows = np.array([line["rows"] for line in lines]).sum(axis=1)
    due = (weights * rows[:, np.newaxis]).sum(axis=0) / rows.sum()
    last = lines[-1]
    return [
        SourceShare(
            name, float(weights[-1, place]), float(due[place]), last["seen_rows"][place], last["seen_tokens"][place]
        )
        for place, name in enumerate(_names(run, len(last["rows"])))
    ]


def mixture_section(run: RunRecord, name: str = "") -> str:
    """The section of the page; empty if the run has one source or records no mixture.

    Args:
        run: The run.
        name: Name of the run on the page. Default: that of its folder.
    """
    shares = source_shares(run)
    if not shares:
        return ""
    steps, lines = _recorded(run)
    seen = np.array([line["seen_rows"] for line in lines], dtype=np.float64)
    percent = 100 * seen / seen.sum(axis=1, keepdims=True)
    chart = curves(
        [Curve(steps, percent[:, place], place, each.name) for place, each in enumerate(shares)],
        "% of rows so far",
        from_zero=True,
    )
    total_rows, total_tokens = (
        sum(column) for column in zip(*((each.rows, each.tokens) for each in shares), strict=True)
    )
    rows = [
        (
            series_key(place, each.name),
            _percent(each.weight),
            _percent(each.due),
            _percent(each.rows / total_rows, each.rows),
            _percent(each.tokens / total_tokens, each.tokens),
        )
        for place, each in enumerate(shares)
    ]
    text = (
        "Share of each data file. The plan's weights ask for shares of rows; rows of short samples have more padding."
    )
    title = f"Mixture of {name or run.path.name}"
    return section(title, text, table(_HEAD, rows, numbers=range(1, len(_HEAD)), label=title) + chart)


def mixture_json(run: RunRecord) -> JSON:
    """The member `mixture` of the figures for programs; no member if the run has one source or records no mixture."""
    shares = source_shares(run)
    return {"mixture": [each._asdict() for each in shares]} if shares else {}


def _recorded(run: RunRecord) -> tuple[NDArray[np.int64], list[JSON]]:
    """Steps with a mixture, (S,), and their mixtures."""
    found = [(line["step"], line["mixture"]) for line in run.metrics if _is_mixture(line.get("mixture"))]
    found = [(step, line) for step, line in found if len(line["rows"]) == len(found[0][1]["rows"])]
    return np.array([step for step, _ in found], dtype=np.int64), [line for _, line in found]


def _is_mixture(value: Any) -> bool:
    """Whether a member of a line is a mixture; the file may have been edited."""
    try:
        columns = [value[name] for name in ("asked", "rows", "seen_rows", "seen_tokens")]
        is_whole = all(type(each) is int and each >= 0 for column in columns for each in column)
        return is_whole and len(set(map(len, columns))) == 1 and all(map(sum, columns))
    except (KeyError, TypeError):
        return False


def _weights(lines: list[JSON]) -> NDArray[np.float64]:
    """Shares of rows that the stage of each step asks for, (S, K)."""
    asked = np.array([line["asked"] for line in lines], dtype=np.float64)
    return asked / asked.sum(axis=1, keepdims=True)


def _names(run: RunRecord, count: int) -> list[str]:
    names = [Path(path).name for path in run.places("data")]
    return names if len(names) == count else [f"source {place}" for place in range(count)]


def _percent(share: float, number: int | None = None) -> str:
    return f"{100 * share:.2f} %" if number is None else f"{100 * share:.2f} % ({number:,})"
