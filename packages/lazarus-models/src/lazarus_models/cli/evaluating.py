"""The commands `eval run`, `compare`, `report` and `tasks`; also `lazarus eval`."""

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lazarus_core.cli_app import App
from lazarus_core.commands import Force
from lazarus_core.console import progress, say, show, show_table, warn
from lazarus_core.errors import reworded
from lazarus_models.cli.chosen_tasks import Chosen, inputs_of, settings_of, with_tasks
from lazarus_models.cli.options import Adapter, AnyBase, AsJson, Model, add_adapter, check_any_base, in_fast_form

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from lazarus_models.evaluation import EvaluationReport, TaskResult
    from lazarus_models.evaluation.tables import Run
    from lazarus_models.evaluation.thresholds import Thresholds
    from lazarus_models.loading.loaded_model import LoadedModel

eval_app = App(
    name="eval",
    help="Evaluate models on local data: perplexity, multiple choice, answers, preferences, with intervals and baselines.",
    no_args_is_help=True,
)
"""`lazarus eval`."""

Output = Annotated[Path | None, typer.Option("-o", "--output", help="Write the report to this JSON file.")]
Items = Annotated[Path | None, typer.Option("--items", help="Write the result of each item to this JSON Lines file.")]
Below = Annotated[
    Path | None,
    typer.Option("--fail-below", help="Exit with 1 if a score is worse than its threshold in this file."),
]
Grades = Annotated[Path | None, typer.Option("--thresholds", help="Grade the scores by this file.")]
Bits = Annotated[int | None, typer.Option("--bits", help="Quantize the model to 2, 3, 4, 5, 6 or 8 bits first.")]


@eval_app.command()
@with_tasks
def run(
    model: Model,
    chosen: Chosen,
    adapter: Adapter = None,
    any_base: AnyBase = False,
    bits: Bits = None,
    reference_model: Annotated[
        str | None,
        typer.Option("--reference-model", help="Compare with this model, for the tasks `preference` and `forgetting`."),
    ] = None,
    output: Output = None,
    items: Items = None,
    fail_below: Below = None,
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """Evaluate a model on tasks: exit 1 if a score is below --fail-below.

    Each score has its 95 % interval, and the baseline of a trivial predictor. `lazarus eval tasks` lists the kinds of tasks and
    their settings.

    Example: -m smollm2-360m -t perplexity=held-out.txt -t choice=arc.jsonl -o report.json
    Example: -m run/final --reference-model base --tasks tasks.toml --fail-below thresholds.toml
    """
    from lazarus_models.evaluation import evaluate
    from lazarus_models.evaluation.runner import check_tasks

    settings = settings_of(chosen)
    with reworded(lambda words: words.replace("`reference`", "--reference-model")):
        check_tasks(settings, has_reference=reference_model is not None)
    limits = _checked_outputs(output, items, fail_below, inputs_of(chosen, settings), force)
    lm = _load(model, adapter, any_base=any_base, bits=bits)
    reference = None if reference_model is None else _load(reference_model, None)
    results: dict[str, TaskResult] = {}
    with _progress() as tell:
        report = evaluate(
            lm,
            settings,
            reference=reference,
            batch_size=chosen.batch_size,
            adapters=_adapters(adapter),
            on_progress=tell,
            on_result=results.__setitem__,
        )
    _finish(report, results, output, items, limits, fail_below, as_json)


@eval_app.command()
@with_tasks
def compare(
    model: Model,
    against: Annotated[
        str, typer.Option("--against", help="Compare with the model in this directory, or of this name.")
    ],
    chosen: Chosen,
    adapter: Adapter = None,
    any_base: AnyBase = False,
    bits: Bits = None,
    output: Output = None,
    items: Items = None,
    fail_below: Below = None,
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """Evaluate two models on the same items, with a paired interval of their difference: exit 1 if a score is below --fail-below.

    METRIC_difference is --model minus --against. p is that of the exact McNemar test, or of the sign test for figures other than
    right and wrong.

    Example: -m tuned --against base -t choice=arc.jsonl -t perplexity=held-out.txt
    """
    from lazarus_models.evaluation import compare_models
    from lazarus_models.evaluation.runner import check_tasks

    settings = settings_of(chosen)
    with reworded(_without_reference):
        check_tasks(settings, has_reference=False)
    limits = _checked_outputs(output, items, fail_below, inputs_of(chosen, settings), force)
    lm = _load(model, adapter, any_base=any_base, bits=bits)
    other = _load(against, None)
    results: dict[str, TaskResult] = {}
    with _progress() as tell:
        report = compare_models(
            lm,
            other,
            settings,
            batch_size=chosen.batch_size,
            adapters=_adapters(adapter),
            on_progress=tell,
            on_result=results.__setitem__,
        )
    _finish(report, results, output, items, limits, fail_below, as_json)


@eval_app.command("report")
def report_runs(
    reports: Annotated[
        list[Path], typer.Argument(metavar="REPORT...", help="Read these reports of `eval run`.", show_default=False)
    ],
    form: Annotated[
        Literal["markdown", "csv", "json", "html"] | None,
        typer.Option("--format", help="Form of the table [default: markdown]."),
    ] = None,
    thresholds: Grades = None,
    fail_below: Below = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the table to this file.")] = None,
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """Compare the reports of several runs in one table: exit 1 if a score is below --fail-below.

    Example: step-1000.json step-2000.json --thresholds thresholds.toml
    Example: step-*.json --format html -o evaluation.html
    """
    from lazarus_core.outputs import check_output, whole_output
    from lazarus_models.errors import EvaluationError
    from lazarus_models.evaluation import load_report
    from lazarus_models.evaluation.tables import TABLE, named_runs
    from lazarus_models.evaluation.thresholds import load_thresholds

    if as_json and form not in (None, "json"):
        raise EvaluationError(f"`--json` has no effect with `--format` {form}; remove one of them", "LM-E501")
    form = "json" if as_json else form or "markdown"
    inputs = [*reports, *(each for each in (thresholds, fail_below) if each is not None)]
    if output is not None:
        check_output(output, TABLE, inputs=inputs, force=force)
    grades = None if thresholds is None else load_thresholds(thresholds)
    limits = None if fail_below is None else load_thresholds(fail_below)
    runs = named_runs(reports, [load_report(path) for path in reports])
    with reworded(lambda words: f"{thresholds}: {words}"):  # of grades: the reports were read above
        text = _table(runs, form, grades)
    if output is None:
        show(text)
    else:
        with whole_output(output, TABLE, inputs=inputs, force=force) as file:
            file.write((text.removesuffix("\n") + "\n").encode())
        say(f"wrote {output}")
    _check_limits([each.report for each in runs], limits, fail_below)


@eval_app.command("tasks")
def list_tasks(as_json: AsJson = False) -> None:
    """List the kinds of tasks with their settings.

    Example: --json
    """
    from lazarus_models.evaluation import load_task, task_kinds

    found: dict[str, dict[str, Any]] = {}
    for kind in task_kinds():
        task = load_task(kind)
        fields = task.settings.model_fields
        found[kind] = {
            "summary": task.summary,
            "reference": task.reference,
            "settings": {
                name: {"default": _shown(field), "help": " ".join((field.description or "").split())}
                for name, field in fields.items()
                if name != "kind"
            },
        }
    if as_json:
        show(json.dumps(found, indent=2, ensure_ascii=False))
        return
    heads = [f"{kind}: {said['summary']}" for kind, said in found.items()]
    lines: list[str] = []
    for head, said in zip(heads, found.values(), strict=True):
        width = max(map(len, said["settings"]))
        lines += [head, *(f"  {name:<{width}}  {each['help']}" for name, each in said["settings"].items()), ""]
    show_table("\n".join(lines).rstrip("\n"), heads)


def _without_reference(words: str) -> str:
    """The message of a task that `compare` cannot run."""
    return words.replace("give `reference`", "use `lazarus eval run --reference-model`")


def _shown(field: Any) -> Any:
    """The default of a setting as a JSON value; "required" for one without."""
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    return default if default is None or isinstance(default, bool | int | float | str) else str(default)


def _checked_outputs(
    output: Path | None, items: Path | None, fail_below: Path | None, inputs: list[Path], force: bool
) -> "Thresholds | None":
    """Checks the outputs, and reads the thresholds, before any work is done."""
    from lazarus_core.outputs import check_output
    from lazarus_models.errors import EvaluationError
    from lazarus_models.evaluation.item_file import ITEMS
    from lazarus_models.evaluation.report import REPORT
    from lazarus_models.evaluation.thresholds import load_thresholds

    inputs = inputs if fail_below is None else [*inputs, fail_below]
    if output is not None and items is not None and output.resolve() == items.resolve():
        raise EvaluationError("--output and --items name the same file; give two", "LM-E501")
    if output is not None:
        check_output(output, REPORT, inputs=inputs, force=force)
    if items is not None:
        check_output(items, ITEMS, inputs=inputs, force=force)
    return None if fail_below is None else load_thresholds(fail_below)


def _load(model: str, adapter: Path | None, *, any_base: bool = False, bits: int | None = None) -> "LoadedModel":
    """Loads a model with the digests of its files, its adapter, and quantizes it."""
    from lazarus_models.adapters.files import merge_adapter
    from lazarus_models.errors import ConfigError
    from lazarus_models.loading.huggingface import load
    from lazarus_models.loading.quantized_layers import quantize

    if bits not in (None, 2, 3, 4, 5, 6, 8):
        raise ConfigError(f"`--bits` must be 2, 3, 4, 5, 6 or 8, not {bits}", "LM-E106")
    check_any_base(adapter, any_base=any_base)
    lm = load(model, hashed=True)
    if adapter is not None:
        add_adapter(lm, adapter, any_base=any_base)
    if bits is not None:
        lm = quantize(lm if adapter is None else merge_adapter(lm), bits=bits)
    return in_fast_form(lm)


def _adapters(adapter: Path | None) -> dict[str, str]:
    from lazarus_models.evaluation.model_card import adapter_digests

    return {} if adapter is None else adapter_digests(adapter)


@contextmanager
def _progress() -> "Generator[Callable[[str, int, int], object]]":
    """A bar over the items of all tasks."""
    with progress("evaluating", total=None, unit="items") as advance:
        earlier, last = 0, ("", 0)

        def tell(task: str, done: int, total: int) -> None:
            nonlocal earlier, last
            if task != last[0] or done <= last[1]:  # the next task, or the next model
                earlier, last = earlier + last[1], (task, 0)
            advance(done - last[1], note=task, total=earlier + total)
            last = (task, done)

        yield tell


def _finish(
    report: "EvaluationReport",
    results: "Mapping[str, TaskResult]",
    output: Path | None,
    items: Path | None,
    limits: "Thresholds | None",
    fail_below: Path | None,
    as_json: bool,
) -> None:
    from lazarus_core.atomic import whole_file
    from lazarus_models.evaluation.item_file import item_lines
    from lazarus_models.evaluation.tables import score_table

    if output is not None:
        with whole_file(output) as file:
            file.write(report.to_bytes())
    if items is not None:
        with whole_file(items) as file:
            file.writelines(item_lines(results))
    if as_json:
        show(report.to_bytes().decode().removesuffix("\n"))
    else:
        show_table(score_table(report.scores))
    for task in report.tasks:
        if task.notes.get("truncated"):
            warn(
                f"warning: {task.name}: {task.notes['truncated']} contexts lost their first tokens: the model's context is shorter"
            )
        if task.notes.get("without_verdict"):
            warn(f"warning: {task.name}: {task.notes['without_verdict']} answers have no verdict and count as wrong")
    for path in (output, items):
        if path is not None:
            say(f"wrote {path}")
    _check_limits([report], limits, fail_below)


def _check_limits(reports: "Sequence[EvaluationReport]", limits: "Thresholds | None", path: Path | None) -> None:
    """Names the scores below their thresholds.

    Raises:
        BelowThreshold: There are some.
    """
    from lazarus_models.errors import BelowThreshold
    from lazarus_models.evaluation.thresholds import failures

    if limits is None:
        return
    found = failures(reports, limits, str(path))
    for line in found:
        warn(line)
    if found:
        raise BelowThreshold(
            f"{len(found)} of the scores are worse than their thresholds in {path}; see the lines above", "LM-E512"
        )
    say(f"all thresholds of {path} pass")


def _table(runs: "Sequence[Run]", form: str, grades: "Thresholds | None") -> str:
    from lazarus_core.html import this_command
    from lazarus_models.evaluation.page import evaluation_page
    from lazarus_models.evaluation.tables import csv_table, json_table, markdown_table

    match form:
        case "csv":
            return csv_table(runs, grades)
        case "json":
            return json_table(runs, grades)
        case "html":
            return evaluation_page(runs, grades, origin=this_command())
        case _:
            return markdown_table(runs, grades)
