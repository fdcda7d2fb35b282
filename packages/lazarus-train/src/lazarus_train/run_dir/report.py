"""Report of runs as one HTML page: curves, differences between runs, and the rows of their steps."""

import json
import shlex
from collections.abc import Iterable, Sequence
from html import escape
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lazarus_core.errors import LazarusError
from lazarus_core.html import Curve, curves, page, section
from lazarus_plan import BatchPlan, load_plan
from lazarus_plan.report import plan_rows
from lazarus_train.run_dir.metrics import JSON, read_lines
from lazarus_train.run_dir.mixture_section import mixture_json, mixture_section
from lazarus_train.run_dir.reader import RunRecord

MAX_TEXT = 4_000_000
"""Largest number of characters of row text on a page. A longer run shows only outlier steps."""
MAX_OUTLIERS = 20
"""Largest number of outlier steps on a page."""
ROW_TEXT = 600
"""Characters shown per row."""
_CHARTS = (
    ("Loss", "loss", "", "Mean over the units of a step: labels, samples or pairs."),
    ("Learning rate", "learning_rate", "rate", "Learning rate of each step."),
    ("Gradient norm", "grad_norm", "norm", "Over all parameters, before clipping."),
    ("Speed", "tokens_per_s", "tokens a second", "Tokens without padding."),
    ("Tokens a step", "tokens", "tokens", "Tokens of each step in the plan, without padding."),
)
_CHOICES = {"accuracy": "right", "reward_accuracy": "pairs in order", "absolute_error": "absolute error"}
"""Main metrics of objectives in addition to the loss, with their units."""
_HELD_OUT = "On held-out rows, which are not trained on."
_NOT_COMPARED = ("output", "folder")


def report_runs(paths: Sequence[Path]) -> str:
    """The report page.

    Args:
        paths: Folders of runs, finished or not.

    Raises:
        SetupError: A folder is not a run.
    """
    runs = [RunRecord.read(path) for path in paths]
    loss, *others = _CHARTS
    sets = dict.fromkeys(name for run in runs for name in run.eval_sets)
    held_out = [(f"Held-out loss of {escape(name)}", "eval_loss", "", _HELD_OUT, name) for name in sets]
    charts = [_chart(runs, *about) for about in (loss, *held_out, *_choices(sets), *others)]
    rows = [_rows(run, number) for number, run in enumerate(runs)]
    body = (
        f"<h1>{len(runs)} training run{'s' if len(runs) > 1 else ''}</h1>{_summary(runs)}\n"
        f'<div class="pair">{"".join(charts)}</div>\n{"".join(map(mixture_section, runs))}{_differences(runs)}{"".join(map(_samples, runs))}{"".join(rows)}'
    )
    return page(f"Training: {', '.join(run.path.name for run in runs)}", body, "lazarus-train", _SCRIPT)


def _choices(sets: Iterable[str]) -> list[tuple[str, ...]]:
    """Charts of accuracy, in training and on held-out sets."""
    found: list[tuple[str, ...]] = []
    for name, unit in _CHOICES.items():
        title = name.replace("_", " ").capitalize()
        found.append((title, name, unit, "Mean over a step."))
        found += [(f"{title} of {escape(each)}", f"eval_{name}", unit, _HELD_OUT, each) for each in sets]
    return found


def _summary(runs: Sequence[RunRecord]) -> str:
    head = ("run", "steps", "loss, first to last", "held-out loss", "tokens", "tokens/s, median", "plan")
    lines: list[str] = []
    for number, run in enumerate(runs):
        steps, loss = run.curve("loss")
        held_out = [(name, run.curve("eval_loss", name)[1]) for name in run.eval_sets]
        changes = [f"{name} {losses[0]:.4f} → {losses[-1]:.4f}" for name, losses in held_out if len(losses)]
        _, speed = run.curve("tokens_per_s")
        cells = (
            f'<td><span class="key key{number % 8}"></span>{escape(str(run.path))}</td>',
            _number(f"{steps[-1]:,}"),
            _number(f"{loss[0]:.4f} → {loss[-1]:.4f}"),
            _number(", ".join(changes) or "not measured"),
            _number(f"{run.curve('tokens')[1].sum():,.0f}"),
            _number(f"{np.median(speed):,.0f}" if len(speed) else "-"),
            f'<td class="code">{escape(run.about["plan_id"][7:23])}</td>',
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    titles = "".join(f'<th class="{"number" if 0 < at < 6 else ""}">{name}</th>' for at, name in enumerate(head))
    return f'<div class="wide"><table><tr>{titles}</tr>{"".join(lines)}</table></div>'


def _number(text: str) -> str:
    return f'<td class="number">{escape(text)}</td>'


def _chart(runs: Sequence[RunRecord], title: str, name: str, unit: str, text: str, eval_set: str | None = None) -> str:
    found = [Curve(*run.curve(name, eval_set), colour=number) for number, run in enumerate(runs)]
    drawn = [each for each in found if len(each.steps)]
    unit = unit or " or ".join(dict.fromkeys(runs[each.colour].loss_unit for each in drawn))
    return section(title, text, curves(drawn, unit, from_zero=unit.startswith("tokens"))) if drawn else ""


def _differences(runs: Sequence[RunRecord]) -> str:
    """Settings and machine details that differ between runs; all of them for one run."""
    columns = [
        run.settings() | {name: str(value) for name, value in run.about.items() if isinstance(value, str)}
        for run in runs
    ]
    for column, run in zip(columns, runs, strict=True):
        column |= {f"version of {name}": str(each) for name, each in run.about.get("versions", {}).items()}
        column |= {f"blas {name}": str(each) for name, each in run.about.get("blas", {}).items()}
        column |= {name.replace("_", " "): str(each) for name, each in run.about.get("policy", {}).items()}
    names = dict.fromkeys(name for column in columns for name in column if name not in _NOT_COMPARED)
    lines = [
        f"<tr><td>{escape(name)}</td>{''.join(_code(column.get(name, '-')) for column in columns)}</tr>"
        for name in names
        if len(runs) == 1 or len({column.get(name) for column in columns}) > 1
    ]
    if not lines:
        return section("Differences", "None: settings, plan, versions and machine are the same.", "")
    keys = "".join(f'<th><span class="key key{number % 8}"></span></th>' for number in range(len(runs)))
    text = "Settings, plan, versions and machine." if len(runs) == 1 else "Settings and machine details that differ."
    table = f'<div class="wide"><table><tr><th></th>{keys}</tr>{"".join(lines)}</table></div>'
    return section("Settings" if len(runs) == 1 else "Differences", text, table)


def _code(text: str) -> str:
    return f'<td class="code">{escape(text)}</td>'


def _samples(run: RunRecord) -> str:
    """Sampled answers during training, if any."""
    lines = read_lines(run.path / "samples.jsonl")
    if not lines:
        return ""
    rows = "".join(
        f"<tr>{_number(str(line['step']))}{_code(str(line['prompt']))}{_code(str(line['text']))}</tr>" for line in lines
    )
    table = f'<div class="wide"><table><tr><th>step</th><th>prompt</th><th>answer</th></tr>{rows}</table></div>'
    return section(f"Answers of {escape(run.path.name)}", "Greedy decoding after the given number of steps.", table)


class _Step(NamedTuple):
    """A step, as stored in the page."""

    step: int
    loss: float
    samples: list[int]


def _rows(run: RunRecord, number: int) -> str:
    """The rows of steps, looked up in the plan and the data, or the reason why they are unavailable."""
    title = f"Rows of the steps of {escape(run.path.name)}"
    try:
        plan, data = _plan_and_data(run)
        steps = _steps(run, plan)
        texts = _texts(steps, data, plan)
    except (LazarusError, OSError) as error:
        return section(title, f"Not shown: {escape(str(error))}", "")
    shown = [each for each in steps if all(sample in texts for sample in each.samples)]
    content = {"steps": [each._asdict() for each in shown], "texts": texts}
    is_all = len(shown) == len(steps)
    command = f"lazarus data batchplan explain -p {shlex.quote(str(*run.places('batch_plan')))} --step N"
    text = (
        "Steps are sorted by how far their loss is above the median of their neighbours. "
        + ("" if is_all else f"The first {len(shown)} are listed. For other steps: ")
        + f"<code>{escape(command)}</code>, where N is the step minus 1, because the plan counts from 0."
    )
    data_block = json.dumps(content).replace("<", "\\u003c")
    picture = (
        f'<script type="application/json" id="rows{number}">{data_block}</script>'
        f'<label>step <select data-rows="{number}"></select></label><div class="wide"><table id="shown{number}"></table></div>'
    )
    return section(title, text, picture)


def _plan_and_data(run: RunRecord) -> tuple[BatchPlan, list[Path]]:
    plan_paths, data = run.places("batch_plan"), run.places("data")
    if not plan_paths or not data:
        raise FileNotFoundError("config.json names no plan or no data")
    plan = load_plan(plan_paths[0])
    if plan.plan_id != run.about["plan_id"]:
        raise FileNotFoundError(f"{plan_paths[0]} is not the plan that the run followed")
    return plan, data


def _steps(run: RunRecord, plan: BatchPlan) -> list[_Step]:
    """Steps ordered by the difference between their loss and the median of the nine steps around them."""
    done, loss = run.curve("loss")
    padded = np.pad(loss, 4, mode="edge")
    around = np.median(np.lib.stride_tricks.sliding_window_view(padded, 9), axis=1)
    order = np.argsort(-(loss - around), kind="stable")
    return [_Step(int(done[at]), round(float(loss[at]), 4), list(plan.step(int(done[at]) - 1).samples)) for at in order]


def _texts(steps: Sequence[_Step], data: Sequence[Path], plan: BatchPlan) -> dict[int, str]:
    """The text of every sample, or of the outlier steps if all text is too long."""
    chosen = steps
    if sum(source.count for source in plan.metadata.sources) * ROW_TEXT > MAX_TEXT:
        sizes = accumulate(len(each.samples) * ROW_TEXT for each in steps)
        chosen = [each for each, size in zip(steps, sizes, strict=True) if size <= MAX_TEXT][:MAX_OUTLIERS]
    wanted = sorted({sample for each in chosen for sample in each.samples})
    return {sample: text[:ROW_TEXT] for sample, text in plan_rows(plan, data, wanted).items()}


def as_json(paths: Sequence[Path]) -> list[JSON]:
    """The figures of the page's first table, for programs.

    Args:
        paths: Folders of runs.
    """
    found: list[JSON] = []
    for path in paths:
        run = RunRecord.read(path)
        steps, loss = run.curve("loss")
        held_out = {name: run.curve("eval_loss", name)[1].tolist() for name in run.eval_sets}
        _, speed = run.curve("tokens_per_s")
        found.append(
            {
                "run": str(path),
                "plan_id": run.about["plan_id"],
                "steps": int(steps[-1]),
                "first_loss": float(loss[0]),
                "last_loss": float(loss[-1]),
                "held_out_losses": held_out,
                "tokens": int(run.curve("tokens")[1].sum()),
                "median_tokens_per_s": float(np.median(speed)) if len(speed) else None,
                **mixture_json(run),
            }
        )
    return found


_SCRIPT = """
for (const select of document.querySelectorAll('select[data-rows]')) {
  const number = select.dataset.rows, found = JSON.parse(document.getElementById('rows' + number).textContent);
  for (const each of found.steps) select.add(new Option(`${each.step} (loss ${each.loss})`, each.step));
  const show = () => {
    const each = found.steps.find(step => step.step == select.value), table = document.getElementById('shown' + number);
    table.replaceChildren();
    for (const sample of each ? each.samples : []) {
      const row = table.insertRow();
      row.insertCell().textContent = sample;
      row.insertCell().textContent = found.texts[sample];
    }
  };
  select.onchange = show; show();
}
for (const chart of document.querySelectorAll('svg[data-first]')) {
  const {first, last, left, right} = Object.fromEntries(Object.entries(chart.dataset).map(([k, v]) => [k, +v]));
  const paths = [...chart.querySelectorAll('path')].map(path => path.dataset.points.split(';').map(p => p.split(',').map(Number)));
  const hair = chart.querySelector('.hair'), note = document.createElementNS(chart.namespaceURI, 'title');
  chart.append(note);
  chart.onmousemove = event => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
    const step = Math.min(last, Math.max(first, first + (point.x - left) / (right - left) * (last - first)));
    const near = paths.map(path => path.reduce((a, b) => Math.abs(b[0] - step) < Math.abs(a[0] - step) ? b : a));
    const x = left + (step - first) / Math.max(last - first, 1) * (right - left);
    hair.setAttribute('x1', x); hair.setAttribute('x2', x); hair.style.visibility = 'visible';
    note.textContent = near.map(([at, value]) => `step ${at}: ${value}`).join('\\n');
  };
  chart.onmouseleave = () => { hair.style.visibility = 'hidden'; };
}
"""
