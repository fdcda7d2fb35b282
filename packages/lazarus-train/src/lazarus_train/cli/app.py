"""`lazarus-train`, also `lazarus train`: training on a batch plan."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_core.cli_app import App
from lazarus_core.commands import Force
from lazarus_core.console import say, show, show_line, version_option, warn
from lazarus_train.cli.plan_budget import plan_budget
from lazarus_train.cli.sweep import sweep
from lazarus_train.cli.training import deferred
from lazarus_train.cli.training_commands import COMMANDS

if TYPE_CHECKING:
    from lazarus_train.run_dir.links import Link

app = App(
    name="lazarus-train",
    help="Trainers that follow a batch plan: verified inputs, an audit log, and bitwise-identical resume.",
    no_args_is_help=True,
)


@app.callback()
def _root(version: Annotated[bool, version_option("lazarus-train")] = False) -> None:
    """Trainers that follow a batch plan: verified inputs, an audit log, and bitwise-identical resume."""


for _command in COMMANDS:
    app.add_deferred(deferred(_command))
app.add_deferred(sweep)
app.command()(plan_budget)


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="A run's folder, its `final`, or one of its checkpoints.")],
    model: Annotated[Path | None, typer.Option("--model", help="Present location of the run's initial model.")] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Present location of its rows, one file for each source of the plan."),
    ] = None,
    batch_plan: Annotated[Path | None, typer.Option("--batch-plan", help="Present location of its plan.")] = None,
    sources: Annotated[
        list[Path] | None,
        typer.Option(
            "--sources",
            help="SOURCES.toml or source files of the corpus or the images that its rows are from; they are read again and compared.",
        ),
    ] = None,
    expect: Annotated[
        str | None, typer.Option("--expect", help="Expected plan_id (16 digits or more), or a lock.")
    ] = None,
    audit_head: Annotated[
        str | None, typer.Option("--audit-head", help="Expected audit head of the finished run (16 digits or more).")
    ] = None,
    replay: Annotated[
        int,
        typer.Option(
            "--replay", min=0, metavar="K", help="Draw so many answers of a GRPO or PPO run again, and compare them."
        ),
    ] = 0,
    allow_unchecked: Annotated[
        bool, typer.Option("--allow-unchecked", help="Exit 0 even if a link could not be checked.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Verify a trained model back to the rows of its data: exit 0 if every link is valid, 1 at the first that is not.

    Example: run/final --expect batch_plan.lock
    """
    from lazarus_train.cli.option_names import errors_with_options
    from lazarus_train.verify.evidence import Elsewhere, Pins
    from lazarus_train.verify.walk import verify_run

    links: list[Link] = []
    with errors_with_options():
        elsewhere = Elsewhere(model, tuple(data or ()), batch_plan, tuple(sources or ()))
        for link in verify_run(path, elsewhere, Pins(expect, audit_head), replay):
            links.append(link)
            if not as_json:
                show_line(f"{link.name:<14} {link.how.value}: {link.proof}")
    holes = [link.name for link in links if not link.holds]
    ok = allow_unchecked or not holes
    if as_json:
        listed = [{"link": link.name, "how": link.how.value, "found": link.proof} for link in links]
        show(json.dumps({"run": str(path), "ok": ok, "unchecked": holes, "links": listed}, indent=2))
    if not ok:
        warn(f"not proven: {', '.join(holes)} could not be checked; `--allow-unchecked` accepts that")
        raise typer.Exit(1)


@app.command()
def checkpoints(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check the files of every checkpoint against their digests: exit 1 if one is damaged.

    Example: run
    """
    from lazarus_train.run_dir.inventory import list_checkpoints

    found = list_checkpoints(run)
    if as_json:
        show(json.dumps([each._asdict() for each in found], indent=2))
    for each in found if not as_json else ():
        loss = "" if each.held_out_loss is None else f"  held-out loss {each.held_out_loss:.4f}"
        names = f"  {', '.join(each.names)}" if each.names else ""
        show(f"{each.name}  {each.bytes / 2**20:10,.1f} MiB  {each.damage or 'whole'}{loss}{names}")
    if any(each.damage for each in found):
        raise typer.Exit(1)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, finished or not; several are compared.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Output page.")] = Path("report.html"),
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures instead, as JSON.")] = False,
) -> None:
    """Write a report of runs as one page: curves, differences, answers, and the rows of their steps.

    Example: run other_run -o report.html
    """
    from lazarus_core.atomic import whole_file
    from lazarus_core.html import PAGE, this_command
    from lazarus_core.outputs import check_output
    from lazarus_train.run_dir import report as run_report

    if as_json:
        show(json.dumps(run_report.as_json(runs), indent=2))
        return
    check_output(output, PAGE, inputs=runs, force=force)
    with whole_file(output) as page:
        page.write(run_report.report_runs(runs, this_command()).encode())
    say(f"wrote {output}; open it in a browser")
