"""`lazarus status`: the artifacts in a folder, how far each run is, and the command that resumes it."""

import json
import shlex
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from lazarus_core.cli_app import bare_option
from lazarus_core.console import duration, say, show, show_line, show_table

if TYPE_CHECKING:
    from lazarus_train.run_dir import RunProgress

JSON = dict[str, Any]
COMMAND_OF = {
    "causal": "sft",
    "diffusion": "sft",
    "mntp": "pretrain",
    "preference": "dpo",
    "grpo": "grpo",
    "ppo": "ppo",
    "reward": "reward",
    "classification": "classify",
    "regression": "classify --numbers",
}
"""Words of the training command behind each kind of objective; another kind is from another package."""
HEAD = ("kind", "path", "state", "step", "loss", "tokens/s", "left", "size", "check")


class Described(NamedTuple):
    """A line of the table.

    Args:
        kind: What it is.
        path: Its folder.
        bytes: Size of its files.
        problem: What a quick check found; None if nothing.
        content: What it has, in words; empty for runs.
        run: Progress, for runs.
        resume: The command that continues a run; None if nothing is left to do.
    """

    kind: str
    path: Path
    bytes: int
    problem: str | None
    content: str = ""
    run: "RunProgress | None" = None
    resume: str | None = None


@bare_option("--watch", "5")
def status(
    folder: Annotated[Path, typer.Argument(help="A run, or a folder with runs, recipes, corpora or plans.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; with --watch one line each time.")] = False,
    watch: Annotated[
        float | None,
        typer.Option("--watch", min=0.1, max=86400.0, help="Repeat every X seconds [default: 5] while a run trains."),
    ] = None,
) -> None:
    """Show runs and other artifacts in a folder: step, loss, speed, time left, size, and how to resume.

    The check is quick: it reads small files and the end of logs, not weights. `lazarus verify` checks all.
    Exit 1 if it finds damage.

    Example: runs
    Example: runs --watch 10
    """
    while True:
        found = describe_folder(folder)
        if as_json:
            show(json.dumps(to_json(folder, found), indent=None if watch else 2, ensure_ascii=False))
        else:
            _show(folder, found)
        if watch is None or not any(each.run is not None and each.run.stage == "running" for each in found):
            break
        time.sleep(watch)
        if not as_json:
            show("")
    if any(each.problem for each in found):
        raise typer.Exit(1)


def describe_folder(folder: Path) -> list[Described]:
    """Describes every artifact in a folder.

    Args:
        folder: Where the search begins.

    Raises:
        OperationError: It is no folder.
    """
    from lazarus_cli.operations.artifacts import find_artifacts

    return [_describe(path, kind) for path, kind in find_artifacts(folder)]


def to_json(folder: Path, found: Iterable[Described]) -> JSON:
    """The table as JSON.

    Args:
        folder: The folder that was searched.
        found: Its artifacts.
    """
    artifacts = [
        {
            "kind": each.kind,
            "path": str(each.path),
            "bytes": each.bytes,
            "problem": each.problem,
            "content": each.content,
            "run": None if each.run is None else each.run._asdict(),
            "resume": each.resume,
        }
        for each in found
    ]
    return {"folder": str(folder), "artifacts": artifacts}


def resume_command(path: Path, record: JSON) -> str:
    """The command that continues a run.

    Args:
        path: The run's folder, where it is now.
        record: Content of its `config.json`.
    """
    config, began_in = record["config"], Path(record["folder"])
    kind = config["objective"]["kind"]
    words = ["lazarus", "train", *COMMAND_OF.get(kind, f"objective {kind}").split()]
    words += ["--config", str(path / "config.json")]
    own = began_in / config["output"]
    if own.resolve() != path.resolve():  # the folder was moved: what lies in it moved too
        words += ["-o", str(path)]
        for name in ("model", "batch_plan"):
            recorded = began_in / config[name]
            if recorded.is_relative_to(own):
                words += [f"--{name.replace('_', '-')}", str(path / recorded.relative_to(own))]
    return shlex.join(words)


def _describe(path: Path, kind: str) -> Described:
    from lazarus_cli.operations.artifacts import RUN
    from lazarus_cli.operations.contents import describe_content
    from lazarus_train.run_dir import run_progress, run_record, tree_bytes

    size = tree_bytes(path.resolve())  # the folder that was given may be a link
    if kind != RUN:
        content, problem = describe_content(path, kind)
        return Described(kind, path, size, problem, content)
    run = run_progress(path)
    resume = resume_command(path, run_record(path)) if run.stage == "stopped" else None
    return Described(kind, path, size, run.damage, run=run, resume=resume)


def _show(folder: Path, found: Sequence[Described]) -> None:
    if not found:
        say(f"{folder} has no runs, recipes, corpora, plans, models or tokenizers")
        return
    rows = [HEAD, *(_cells(folder, each) for each in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    show_table("\n".join(lines))
    for each in found:
        if each.problem:
            show_line(f"problem: {each.path}: {each.problem}")
        if each.resume:
            show_line(f"resume: {each.resume}")


def _cells(folder: Path, each: Described) -> tuple[str, ...]:
    path = each.path.relative_to(folder) if each.path.is_relative_to(folder) and each.path != folder else each.path
    size, check = f"{each.bytes / 2**20:,.1f} MiB", "damaged" if each.problem else "ok"
    run = each.run
    if run is None:
        return each.kind, str(path), each.content, "-", "-", "-", "-", size, check
    steps = "?" if run.steps is None else f"{run.steps:,}"
    return (
        f"{each.kind} {run.objective}",
        str(path),
        str(run.stage),
        f"{run.step:,} of {steps}",
        "-" if run.loss is None else f"{run.loss:.4f}",
        "-" if run.tokens_per_s is None else f"{run.tokens_per_s:,.0f}",
        "-" if run.seconds_left is None else duration(run.seconds_left),
        size,
        check if run.checkpoint is not None else "no checkpoint",
    )
