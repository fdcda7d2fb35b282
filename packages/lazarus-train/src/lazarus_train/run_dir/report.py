"""Report of runs as one HTML page: curves, differences between runs, and the rows of their steps."""

import json
import shlex
from collections.abc import Iterable, Sequence
from html import escape
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lazarus_core.command_names import as_called
from lazarus_core.errors import LazarusError
from lazarus_core.html import (
    Curve,
    Origin,
    curves,
    facts,
    figures,
    in_words,
    more,
    page,
    scroll,
    section,
    series_key,
    table,
    unbroken,
)
from lazarus_plan import BatchPlan, load_plan
from lazarus_plan.report import plan_rows
from lazarus_train.run_dir.layout import RunFolder
from lazarus_train.run_dir.metrics import JSON, read_lines
from lazarus_train.run_dir.parts.image_log import image_section
from lazarus_train.run_dir.parts.mixture_section import mixture_json, mixture_section
from lazarus_train.run_dir.parts.reward_charts import reward_charts, reward_json, with_controls
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


def report_runs(paths: Sequence[Path], origin: Origin | None = None) -> str:
    """The report page.

    Args:
        paths: Folders of runs, finished or not.
        origin: Command and time for the footer. Without it, the page of the same records is always the same.

    Raises:
        SetupError: A folder is not a run.
    """
    runs = [RunRecord.read(path) for path in with_controls(paths)]
    names = _names(runs)
    loss, *others = _CHARTS
    sets = dict.fromkeys(name for run in runs for name in run.eval_sets)
    held_out = [(f"Held-out loss of {name}", "eval_loss", "", _HELD_OUT, name) for name in sets]
    before, after = reward_charts(runs, sets)
    held_out = [] if before else held_out  # of greedy answers: the negative reward
    about = (*before, loss, *held_out, *_choices(sets), *after, *others)
    charts = [_chart(runs, names, *each) for each in about]
    rows = [_rows(run, number, name) for number, (run, name) in enumerate(zip(runs, names, strict=True))]
    title = f"Training run{'s' if len(runs) > 1 else ''} "
    of = ", ".join(dict.fromkeys(each for run in runs for each in _about(run)))
    settings = _settings(runs[0]) if len(runs) == 1 else _differences(runs, names)
    answers = "".join(_samples(run, name) for run, name in zip(runs, names, strict=True))
    images = "".join(image_section(RunFolder(run.path).images, name) for run, name in zip(runs, names, strict=True))
    mixtures = "".join(map(mixture_section, runs, names))
    body = (
        f"<header><h1>{title}{in_words([unbroken(name) for name in names])}</h1><p>{escape(of)}</p></header>{_summary(runs, names)}\n"
        f'<div class="pair">{"".join(charts)}</div>\n{mixtures}{settings}{answers}{images}{"".join(rows)}'
    )
    return page(title + in_words(names), body, "lazarus-train", _SCRIPT, origin=origin)


class RunPart(NamedTuple):
    """A run as a part of another page.

    Args:
        figures: Key figures by name.
        charts: Loss, held-out losses and main metrics as HTML.
        answers: Sampled answers as HTML; empty if there are none.
    """

    figures: dict[str, str]
    charts: str
    answers: str


def part_of(path: Path, name: str, colour: int = 0) -> RunPart:
    """A run for a page with other things.

    Args:
        path: Folder of the run, finished or not.
        name: Name of the run on the page.
        colour: Number of its colour, from 0.

    Raises:
        SetupError: The folder is not a run, or has no step.
    """
    run = RunRecord.read(path)
    names = ["" for _ in range(colour)] + [name]
    sets = dict.fromkeys(run.eval_sets)
    before, _ = reward_charts([run], sets)
    held_out = [(f"Held-out loss of {each}", "eval_loss", "", _HELD_OUT, each) for each in sets]
    about = [*before, _CHARTS[0], *([] if before else held_out), *_choices(sets)]
    titled = [(f"{title} of {name}" if title == _CHARTS[0][0] else f"{title}, {name}", *rest) for title, *rest in about]
    charts = "".join(_chart([run] * (colour + 1), names, *each, only=colour) for each in titled)
    epochs = run.epochs()
    found = {"epochs": "unknown" if epochs is None else f"{epochs:.2f}"}
    return RunPart({**_figures(run), **found}, charts, _samples(run, name))


def _names(runs: Sequence[RunRecord]) -> list[str]:
    """Names of the runs: those of their folders, or the paths if two folders have one name."""
    short = [run.path.resolve().name for run in runs]
    return short if len(set(short)) == len(runs) else [str(run.path) for run in runs]


def _about(run: RunRecord) -> Iterable[str]:
    """What a run trains, and on what."""
    yield f"objective {run.config.get('objective', {}).get('kind', 'causal')}"
    for word, setting in (("model", "model"), ("data", "data")):
        if places := run.places(setting):
            yield f"{word} {in_words([path.name for path in places])}"
    yield f"plan {run.about['plan_id'][7:23]}"


def _choices(sets: Iterable[str]) -> list[tuple[str, ...]]:
    """Charts of accuracy, in training and on held-out sets."""
    found: list[tuple[str, ...]] = []
    for name, unit in _CHOICES.items():
        title = name.replace("_", " ").capitalize()
        found.append((title, name, unit, "Mean over a step."))
        found += [(f"{title} of {each}", f"eval_{name}", unit, _HELD_OUT, each) for each in sets]
    return found


def _summary(runs: Sequence[RunRecord], names: Sequence[str]) -> str:
    """Key figures of one run, or a table of several."""
    if len(runs) == 1:
        return figures({name: text for name, text in _figures(runs[0]).items() if text != "not measured"})
    rows = [
        (series_key(number, name), *_figures(run).values(), run.about["plan_id"][7:23])
        for number, (run, name) in enumerate(zip(runs, names, strict=True))
    ]
    head = ("run", *_figures(runs[0]), "plan")
    return table(head, rows, numbers=range(1, len(head) - 1), label="Figures of the runs")


def _figures(run: RunRecord) -> dict[str, str]:
    steps, loss = run.curve("loss")
    held_out = [(name, run.curve("eval_loss", name)[1]) for name in run.eval_sets]
    changes = [
        f"{name + ' ' if len(held_out) > 1 else ''}{losses[0]:.4f} → {losses[-1]:.4f}"
        for name, losses in held_out
        if len(losses)
    ]
    _, speed = run.curve("tokens_per_s")
    return {
        "steps": f"{steps[-1]:,}",
        "loss, first → last": f"{loss[0]:.4f} → {loss[-1]:.4f}",
        "held-out loss": ", ".join(changes) or "not measured",
        "tokens": f"{run.curve('tokens')[1].sum():,.0f}",
        "tokens/s, median": f"{np.median(speed):,.0f}" if len(speed) else "not measured",
    }


def _chart(
    runs: Sequence[RunRecord],
    names: Sequence[str],
    title: str,
    name: str,
    unit: str,
    text: str,
    eval_set: str | None = None,
    *,
    only: int | None = None,
) -> str:
    found = [Curve(*run.curve(name, eval_set), number, names[number]) for number, run in enumerate(runs)]
    drawn = [each for each in found if len(each.steps) and only in (None, each.colour)]
    unit = unit or " or ".join(dict.fromkeys(runs[each.colour].loss_unit for each in drawn))
    return section(title, text, curves(drawn, unit, from_zero=unit.startswith("tokens"))) if drawn else ""


def _settings(run: RunRecord) -> str:
    """Settings of one run that differ from their defaults; the others, versions and machine in closed parts."""
    changed = {name: text for name, text in run.changed_settings().items() if name not in _NOT_COMPARED}
    rest = {name: text for name, text in run.settings().items() if name not in changed and name not in _NOT_COMPARED}
    closed = more(f"{len(rest)} settings at their defaults", facts(rest)) if rest else ""
    closed += more("Versions and machine", facts(_surroundings(run)))
    return section("Settings", "Those that differ from their defaults.", facts(changed) + closed)


def _surroundings(run: RunRecord) -> dict[str, str]:
    """Versions, machine and plan of a run."""
    found = {
        name: str(value) for name, value in run.about.items() if isinstance(value, str) and name not in _NOT_COMPARED
    }
    found |= {f"version of {name}": str(each) for name, each in run.about.get("versions", {}).items()}
    found |= {f"blas {name}": str(each) for name, each in run.about.get("blas", {}).items()}
    return found | {name.replace("_", " "): str(each) for name, each in run.about.get("policy", {}).items()}


def _differences(runs: Sequence[RunRecord], names: Sequence[str]) -> str:
    """Settings and machine details that differ between runs; what is the same in a closed part."""
    columns = [run.settings() | _surroundings(run) for run in runs]
    every = dict.fromkeys(name for column in columns for name in column if name not in _NOT_COMPARED)
    rows = {name: [column.get(name, "-") for column in columns] for name in every}
    changed = {name: row for name, row in rows.items() if len(set(row)) > 1}
    same = {name: row[0] for name, row in rows.items() if name not in changed}
    closed = more(f"{len(same)} settings and details that are the same", facts(same))
    if not changed:
        return section("Differences", "None: settings, plan, versions and machine are the same.", closed)
    head = ("", *(series_key(number, name) for number, name in enumerate(names)))
    shown = table(head, ((name, *row) for name, row in changed.items()), label="Differences")
    return section("Differences", "Settings and machine details that differ.", shown + closed)


def _samples(run: RunRecord, name: str) -> str:
    """Sampled answers during training, if any."""
    lines = read_lines(run.path / "samples.jsonl")
    if not lines:
        return ""
    answers: dict[str, list[tuple[str, str]]] = {}
    for line in lines:
        answer = str(line["text"]).strip() or "(only white space)"
        answers.setdefault(str(line["prompt"]), []).append((f"{line['step']:,}", answer))
    shown = "".join(
        f"<h3>{escape(prompt)}</h3>{table(('step', 'answer'), rows, numbers=(0,), long=(1,), label=f'Answers to {prompt}')}"
        for prompt, rows in answers.items()
    )
    return section(f"Answers of {name}", "Greedy decoding after the given number of steps.", shown)


class _Step(NamedTuple):
    """A step, as stored in the page."""

    step: int
    loss: float
    samples: list[int]


def _rows(run: RunRecord, number: int, name: str) -> str:
    """The rows of steps, looked up in the plan and the data, or the reason why they are unavailable."""
    title = f"Rows of the steps of {name}"
    try:
        plan, data = _plan_and_data(run)
        steps = _steps(run, plan)
        texts = _texts(steps, data, plan)
    except (LazarusError, OSError) as error:
        return section(title, f"Not shown: {escape(str(error))}", "")
    shown = [each for each in steps if all(sample in texts for sample in each.samples)]
    content = {"steps": [each._asdict() for each in shown], "texts": texts}
    is_all = len(shown) == len(steps)
    command = (
        as_called("lazarus data batchplan explain") + f" -p {shlex.quote(str(*run.places('batch_plan')))} --step N"
    )
    text = (
        "Steps are sorted by how far their loss is above the median of their neighbours. "
        + ("" if is_all else f"The first {len(shown)} are listed. For other steps: ")
        + f"<code>{escape(command)}</code>, where N is the step minus 1, because the plan counts from 0."
    )
    data_block = json.dumps(content).replace("<", "\\u003c")
    shown_rows = scroll(
        f'<table><thead><tr><th scope="col" class="number">sample</th><th scope="col">text</th></tr></thead>'
        f'<tbody id="shown{number}"></tbody></table>',
        title,
    )
    picture = (
        f'<script type="application/json" id="rows{number}">{data_block}</script>'
        f'<label>step <select data-rows="{number}"></select></label>{shown_rows}'
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
    for path in with_controls(paths):
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
                **reward_json(run),
                **mixture_json(run),
            }
        )
    return found


_SCRIPT = """
for (const select of document.querySelectorAll('select[data-rows]')) {
  const number = select.dataset.rows, found = JSON.parse(document.getElementById('rows' + number).textContent);
  for (const each of found.steps) select.add(new Option(`${each.step.toLocaleString('en-US')} (loss ${each.loss})`, each.step));
  const show = () => {
    const each = found.steps.find(step => step.step == select.value), table = document.getElementById('shown' + number);
    table.replaceChildren();
    for (const sample of each ? each.samples : []) {
      const row = table.insertRow();
      const [number, text] = [row.insertCell(), row.insertCell()];
      number.className = 'number'; text.className = 'long';
      number.textContent = sample.toLocaleString('en-US'); text.textContent = found.texts[sample];
    }
  };
  select.onchange = show; show();
}
"""
