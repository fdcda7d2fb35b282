"""Commands that make plans: build, lock, materialise, rebase, export."""

import inspect
import json
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lazarus_core.cli_app import Deferred
from lazarus_core.commands import Force
from lazarus_core.console import say, show
from lazarus_plan.cli.option_names import errors_with_options, name_options
from lazarus_plan.cli.options import (
    AsJson,
    Format,
    Lengths,
    PlanPath,
    check_result,
    choose_format,
    make_config,
    read_caches,
    reported,
    show_findings,
    write_result,
)

if TYPE_CHECKING:
    from pydantic import ValidationError

    from lazarus_core.settings import Layers
    from lazarus_plan.cli.settings import BuildSettings

Parent = Annotated[
    Path | None, typer.Option("--parent", help="Folder of the parent's plan or lock, for a rebased plan.")
]
ParentLengths = Annotated[
    list[Path] | None,
    typer.Option("--parent-lengths", help="Length caches of the parent's lock [default: next to it]."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Plan and report, write nothing.")]
WORTH_A_WORD_S = 3
"""Estimated seconds from which the command prints the estimate first."""


def _check_parent(parent: Path | None, parent_lengths: list[Path] | None) -> None:
    if parent_lengths and parent is None:
        raise typer.BadParameter("--parent-lengths needs --parent")


WORDS = """Plan every step of a run, once.

    Settings come from options, from --set, and from a file (--config): TOML, JSON, or the metadata.json of a plan, which with the
    same lengths gives the same plan again.

    Example: -l lengths.jsonl -b 8192 -e 3 -o plan
    Example: -l web.jsonl -l code.jsonl --weights 3,1 -b 65536 --row-len 2048 -o plan
    Example: --config plan.toml --set epochs=2 --print-config
    """
CONFIG_HELP = "Settings of the plan: a .toml file, JSON, or the metadata.json of a plan."


def _make_build() -> Any:
    """The function whose parameters are the options of `build`."""
    from lazarus_core.settings import SettingsCommand
    from lazarus_plan.cli import settings

    return SettingsCommand(
        title="lazarus data batchplan build",
        model=settings.BuildSettings,
        options=settings.options(),
        start=_build,
        refusal=_refusal,
        more=[
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
            for name, annotation in (("force", Force), ("dry_run", DryRun), ("as_json", AsJson))
        ],
        complete=_require,
        unwrap=settings.settings_of_plan,
        config_help=CONFIG_HELP,
    ).function()


build = Deferred("build", WORDS, _make_build)
"""The command."""


def _require(layers: "Layers[BuildSettings]") -> None:
    from lazarus_core.settings import missing

    needed = {"lengths": "'-l' / '--lengths'", "output": "'-o' / '--output'", "token_budget": "'-b' / '--token-budget'"}
    for name, option in needed.items():
        if layers.source((name,)) is None:
            raise missing(option)


def _refusal(error: "ValidationError") -> typer.BadParameter:
    from lazarus_core.reasons import plain_reason

    first = error.errors()[0]
    said = name_options(plain_reason(first["msg"]))
    for name, option in {
        "predictable": "--predictable",
        "mode": "--mode",
        "weights": "--weights",
        "stages": "--stage",
    }.items():
        said = said.replace(f"`{name}`", option)
    field = str(first["loc"][0]) if first["loc"] else ""
    return typer.BadParameter(
        f"--{'stage' if field == 'stages' else field.replace('_', '-')}: {said}" if field else said
    )


def _build(settings: "BuildSettings", *, force: bool, dry_run: bool, as_json: bool) -> None:
    from lazarus_plan.build import build_plan
    from lazarus_plan.packing.estimate import estimate_plan
    from lazarus_plan.packing.items import resolve
    from lazarus_plan.report.summary import receipt, summary

    config, output = settings.plan_config(), settings.output
    with errors_with_options():
        caches = read_caches(list(settings.lengths))
        expected = estimate_plan(caches, resolve(caches, config))
        if expected.seconds > WORTH_A_WORD_S:
            say(f"planning: {expected}")
        plan = build_plan(caches, config, None if dry_run else output, force=force)
    show(json.dumps(summary(plan), indent=2) if as_json else receipt(plan))
    if dry_run:
        say("dry run: nothing was written")
    else:
        say(f"wrote {output}; next: lazarus data batchplan validate -p {quote(str(output))} --strict")


def lock(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the lock.")],
    plan: Annotated[Path | None, typer.Option("-p", "--plan", help="Folder of the plan.")] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Build the lock in --output again from --lengths, and renew it.")
    ] = False,
    lengths: Annotated[
        list[Path] | None,
        typer.Option("-l", "--lengths", help="With --update: length caches [default: next to the lock]."),
    ] = None,
    parent: Parent = None,
    parent_lengths: ParentLengths = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write the lock of a plan, a few KB to commit, from which `materialise` rebuilds the plan. Or renew a lock.

    Example: -p plan -o batch_plan.lock
    Example: --update -o batch_plan.lock -l lengths.jsonl
    """
    from lazarus_plan.format.store import read_artifact, stated_id
    from lazarus_plan.locks.inputs import find_lengths, load_parent
    from lazarus_plan.locks.lock import update_lock, write_lock

    _check_parent(parent, parent_lengths)
    if update == (plan is not None):
        raise typer.BadParameter("give one of --plan, to write its lock, and --update, to renew the lock in --output")
    if update and force:
        raise typer.BadParameter("--force has no effect with --update")
    if lengths and not update:
        raise typer.BadParameter("--lengths has no effect without --update")
    known = None if parent is None else load_parent(parent, parent_lengths or [])
    if plan is not None:
        write_lock(plan, output, known, force=force)
        if as_json:
            show(json.dumps({"lock": str(output), "plan_id": stated_id(output), "changes": []}, indent=2))
        say(
            f"wrote {output}; commit it with its lengths and a line `{output.name}/** -text` in .gitattributes, and check it "
            f"with: lazarus data batchplan ci -k {quote(str(output))}"
        )
        return
    paths = lengths or find_lengths(read_artifact(output), list(dict.fromkeys([output, output.parent, Path()])))
    made, changes = update_lock(output, read_caches(paths, trusts_sidecars=False), known)
    if as_json:
        show(json.dumps({"lock": str(output), "plan_id": made.plan_id, "changes": changes}, indent=2))
    else:
        show("\n".join(changes))
    say(f"{output} is the lock of plan {made.plan_id}")


def materialise(
    lock: Annotated[Path, typer.Option("-k", "--lock", help="Folder of the lock.")],
    lengths: Lengths,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the plan; not needed with --check.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Build in memory and compare; write nothing.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Write the result even if it is another plan.")] = False,
    parent: Parent = None,
    parent_lengths: ParentLengths = None,
    output_format: Format = "text",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild the plan of a lock. Exit 1 if an input has changed.

    Example: -k batch_plan.lock -l lengths.jsonl -o plan
    """
    from lazarus_plan.format.store import check_replaceable, save_plan
    from lazarus_plan.locks.inputs import load_parent
    from lazarus_plan.locks.lock import materialise as rebuild

    chosen = choose_format(output_format, as_json)
    _check_parent(parent, parent_lengths)
    if check == (output is not None):
        raise typer.BadParameter("give one of --output, the folder for the plan, and --check, which writes nothing")
    if check and (anyway or force):
        raise typer.BadParameter(
            f"{'--anyway' if anyway else '--force'} has no effect with --check, which writes nothing"
        )
    if output is not None:
        check_replaceable(output, force=force)
    with reported(chosen, lock):
        known = None if parent is None else load_parent(parent, parent_lengths or [])
        caches = read_caches(lengths, trusts_sidecars=False)
        plan = rebuild(lock, caches, output if anyway else None, known, force=force)
    if output is not None:
        save_plan(plan, output, force=force)
    if chosen == "json":
        show(json.dumps({"plan": str(lock), "ok": True, "findings": [], "plan_id": plan.plan_id}, indent=2))
    elif chosen == "text":
        show(plan.plan_id)
    show_findings(chosen, lock, [])
    say(f"{'checked' if output is None else f'wrote {output}'}: the plan of the lock, to the byte; data not compared")


def rebase(
    plan: PlanPath,
    step: Annotated[int, typer.Option("--step", help="Steps that were trained and stay.")],
    lengths: Lengths,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the child plan.")],
    token_budget: Annotated[
        int | None, typer.Option("-b", "--token-budget", help="Of the remaining steps [default: unchanged].")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("-e", "--epochs", help="Total number of epochs [default: unchanged].")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the remaining steps [default: unchanged].")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Keep the trained steps and plan the rest again, for data that was corrected or extended during a run.

    Rows may be appended to any source; rows of the trained steps must stay as they were.

    Example: -p plan --step 500 -l new_lengths.jsonl -o rebased_plan
    """
    from lazarus_plan.checks.artifact import load_plan
    from lazarus_plan.format.store import check_replaceable, save_plan
    from lazarus_plan.rebase import rebase_plan
    from lazarus_plan.report.summary import receipt, summary

    check_replaceable(output, force=force)
    parent = load_plan(plan)
    changes = {"token_budget": token_budget, "epochs": epochs, "seed": seed}
    asked = parent.metadata.config.model_dump() | {name: value for name, value in changes.items() if value is not None}
    child = rebase_plan(parent, step, read_caches(lengths), make_config(**asked))
    save_plan(child, output, force=force)
    show(json.dumps(summary(child), indent=2) if as_json else receipt(child))
    say(f"wrote {output}; resume at step {step} from a checkpoint of {plan}")


def _export_targets() -> list[str]:
    from lazarus_plan.exports import targets

    return targets()


def export(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="Trainer that replays the plan: torch, trl, grain, mlx, or an exporter of another package.",
            autocompletion=_export_targets,
        ),
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Python file [default: print it].")] = None,
    force: Force = False,
) -> None:
    """Write a Python file that replays plans in another trainer, without lazarus-plan.

    torch: a loader, loss and audit log for a loop. trl: a mixin for trainers of TRL and transformers. grain: a random-access source.
    mlx: a call of mlx-lm's trainer. Labels are those of the data or of `lazarus tokenizer encode`; settings that would break the plan
    are refused. The run writes an audit log for `lazarus data batchplan audit`. The head of the file shows how to use it.

    Example: --to trl -o replay.py
    """
    from lazarus_plan.exports import export as source_of
    from lazarus_plan.exports import output_kind

    content = source_of(to).rstrip()
    check_result(output, output_kind(content), [], force)
    write_result(content, output)
