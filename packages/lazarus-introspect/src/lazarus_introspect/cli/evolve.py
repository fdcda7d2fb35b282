"""The command `evolve`: a number over the checkpoints of a training run."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lazarus_core.errors import reworded
from lazarus_introspect.cli.options import Raw, Seed, quoted
from lazarus_introspect.cli.outputs import Outputs, show_pictures, writes_result
from lazarus_introspect.errors import RequestError

if TYPE_CHECKING:
    from lazarus_introspect.evolution import EvolutionResult, Metric

_SHOWN_ROWS = 20


@writes_result
def evolve(
    run: Annotated[Path, typer.Argument(help="Folder of a run of `lazarus train`, with its checkpoints.")],
    metric: Annotated[
        Literal["loss", "probability", "rank", "difference", "head"],
        typer.Option("--metric", help="Follow this number: of the prompt, of its next token, or of an attention head."),
    ] = "loss",
    prompt: Annotated[
        str | None, typer.Option("-p", "--prompt", help="Read this prompt; all metrics but head.")
    ] = None,
    positive: Annotated[
        str | None, typer.Option("--positive", help="probability, rank, difference: the next token.")
    ] = None,
    negative: Annotated[
        str | None, typer.Option("--negative", help="difference: the token whose logit is subtracted.")
    ] = None,
    head: Annotated[str | None, typer.Option("--head", help="head: its layer and number, such as 2.3.")] = None,
    kind: Annotated[
        Literal["induction", "duplicate", "previous", "sink"],
        typer.Option("--kind", help="head: score minus control, on random repeated tokens."),
    ] = "induction",
    model: Annotated[
        Path | None, typer.Option("-m", "--model", help="Model that the run started from [default: as the run says].")
    ] = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Plan that the run followed [default: as the run says].")
    ] = None,
    seed: Seed = 0,
    raw: Raw = False,
    *,
    outputs: Outputs,
) -> None:
    """Follow a number over the checkpoints of a run, and name the rows that were trained where it changes most.

    The null of the largest change is one normal distribution of the changes of all intervals. The rows are those of the plan, if
    the audit log confirms that the run followed it.

    Example: runs/sums --metric probability -p "7+8=" --positive "15" --raw
    """
    from lazarus_core.console import progress
    from lazarus_introspect.evolution import evolve as follow
    from lazarus_introspect.evolution.run_folder import read_run

    fields = {"prompt": prompt, "positive": positive, "negative": negative, "head": _head(head)}
    chosen = _metric(name=metric, kind=kind, seed=seed, raw=raw, **fields)
    with reworded(lambda message: message.replace("`model`", "--model").replace("`plan`", "--plan")):
        count = len(read_run(run, model=model, plan=plan).checkpoints)
        with progress("measuring", total=count, unit="checkpoints") as advance:
            result = follow(run, chosen, model=model, plan=plan, seed=seed, on_checkpoint=lambda: advance())
    if outputs.publish(result):
        return
    _show(result)


def _metric(**fields: object) -> "Metric":
    from pydantic import ValidationError

    from lazarus_core.reasons import plain_reason
    from lazarus_introspect.evolution import Metric

    try:
        return Metric.model_validate(fields)
    except ValidationError as error:
        reason = re.sub(r"`(\w+)`", r"--\1", plain_reason(error.errors()[0]["msg"]))
        raise RequestError(f"--metric: {reason}", "LI-E106") from None


def _head(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", text)
    if found is None:
        raise RequestError(f"--head {text!r}: give layer and head with a dot, such as 2.3", "LI-E106")
    return int(found[1]), int(found[2])


def _show(result: "EvolutionResult") -> None:
    from lazarus_core.console import show, warn
    from lazarus_introspect.evolution.result import listed_rows
    from lazarus_tokenkit.tables import aligned

    about = {name.lower(): text for name, text in result.about().items()}
    show(aligned([("run", result.run), *about.items()]))
    jump = result.jump
    rows = [["step", result.metric.unit, ""]]
    for each in result.checkpoints:
        is_end = each.step in (jump.first_step, jump.last_step)
        rows.append([f"{each.step:,}", f"{each.value:.5g}", "*" if is_end else ""])
    show("\n" + aligned(rows, right=[0, 1]) + "\n*: the interval of the largest change a step")
    show_pictures(result.pictures()[:1])
    if result.rows is not None:
        span = f"steps {jump.first_step:,} to {jump.last_step - 1:,}"
        show(f"\nrows of the {span}: {result.rows.num_samples:,} samples, confirmed by plan and audit log")
        show(
            "\n".join(
                f"  {quoted(each.source, 60)}: {listed_rows(each.rows, _SHOWN_ROWS)}" for each in result.rows.sources
            )
        )
    elif result.rows_absent is not None:
        warn(f"warning: no rows: {result.rows_absent}")
