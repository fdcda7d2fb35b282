"""Commands that make plans: build, lock, materialise, rebase, export."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lazarus_core.cli_options import Force
from lazarus_core.console import say, show
from lazarus_plan.cli.options import (
    AsJson,
    Format,
    Lengths,
    PlanPath,
    check_result,
    make_config,
    numbers,
    read_caches,
    reported,
    show_findings,
    write_result,
)

if TYPE_CHECKING:
    from lazarus_plan.config import Stage

Parent = Annotated[
    Path | None, typer.Option("--parent", help="Of a rebased plan: folder of its parent's plan or lock.")
]
ParentLengths = Annotated[
    list[Path] | None,
    typer.Option("--parent-lengths", help="Length caches of the parent's lock [default: next to it]."),
]
PREDICTABLE_SEED = 0
"""Seed of `--predictable`."""
WORTH_A_WORD_S = 3
"""Estimated seconds from which the command prints the estimate first."""


def build(
    lengths: Lengths,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the plan.")],
    token_budget: Annotated[int, typer.Option("-b", "--token-budget", help="Tokens a step, padding included.")],
    epochs: Annotated[int, typer.Option("-e", "--epochs", help="Passes over the data.")] = 1,
    row_len: Annotated[
        int | None, typer.Option("--row-len", help="Tokens a row [default: what the longest sample needs].")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Decides every order [default: drawn, recorded].")] = None,
    predictable: Annotated[
        bool, typer.Option("--predictable", help="Seed 0: the same plan whenever and wherever it is built.")
    ] = False,
    mode: Annotated[
        Literal["packed", "stable", "padded", "bucketed"] | None,
        typer.Option(
            "--mode",
            help="packed: samples share rows. stable: the same, and an edited sample changes few steps. padded, bucketed: one "
            "row each. [default: packed]",
        ),
    ] = None,
    align: Annotated[int, typer.Option("--align", help="Segments start at multiples of this.")] = 1,
    window: Annotated[int | None, typer.Option("--window", help="Samples packed or sorted at a time.")] = None,
    bucket_edges: Annotated[
        str, typer.Option("--bucket-edges", help="Row lengths of mode bucketed: 128,256,512.")
    ] = "",
    weights: Annotated[str, typer.Option("--weights", help="Rows of each source as ratios: 3,1.")] = "",
    repeats: Annotated[str, typer.Option("--repeats", help="Passes over each source an epoch: 1,4.")] = "",
    stage: Annotated[
        list[str] | None,
        typer.Option("--stage", help="Sources of one stage, from 0, with weights or not: 0=3,1=1. Again for each."),
    ] = None,
    until: Annotated[
        Literal["all", "first"],
        typer.Option("--until", help="Weighted epochs end when all sources are used up, or one."),
    ] = "all",
    oversize: Annotated[
        Literal["error", "exclude", "truncate", "split"],
        typer.Option("--oversize", help="What becomes of a sample longer than a row."),
    ] = "error",
    zero_length: Annotated[
        Literal["error", "exclude"], typer.Option("--zero-length", help="What becomes of a sample without tokens.")
    ] = "error",
    force: Force = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan and report, write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Plan every step of a run, once."""
    from lazarus_plan.build import build_plan
    from lazarus_plan.packing.estimate import estimate_plan
    from lazarus_plan.packing.items import resolve
    from lazarus_plan.report.summary import receipt, summary

    if predictable and seed not in (None, PREDICTABLE_SEED):
        raise typer.BadParameter("--predictable means seed 0; give one of --predictable and --seed")
    if weights and stage:
        raise typer.BadParameter("--weights is one stage of all sources; with --stage write 0=3,1=1")
    config = make_config(
        token_budget=token_budget,
        epochs=epochs,
        row_len=row_len,
        seed=PREDICTABLE_SEED if predictable else _fresh_seed() if seed is None else seed,
        mode=mode or ("bucketed" if bucket_edges else "packed"),
        align=align,
        window=window,
        bucket_edges=numbers(bucket_edges, "--bucket-edges"),
        repeats=numbers(repeats, "--repeats"),
        stages=_stages(stage or [], numbers(weights, "--weights"), until),
        oversize=oversize,
        zero_length=zero_length,
    )
    caches = read_caches(lengths)
    expected = estimate_plan(caches, resolve(caches, config))
    if expected.seconds > WORTH_A_WORD_S:
        say(f"planning: {expected}")
    plan = build_plan(caches, config, None if dry_run else output, force=force)
    show(json.dumps(summary(plan), indent=2) if as_json else receipt(plan))
    if dry_run:
        say("dry run: nothing was written")
    else:
        say(f"wrote {output}; next: lazarus data batchplan validate -p {output} --strict")


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
) -> None:
    """Write the lock of a plan, a few KB to commit, from which `materialise` rebuilds the plan. Or renew a lock."""
    from lazarus_plan.format.store import read_artifact
    from lazarus_plan.locks.inputs import find_lengths, load_parent
    from lazarus_plan.locks.lock import update_lock, write_lock

    if update == (plan is not None):
        raise typer.BadParameter("give one of --plan, to write its lock, and --update, to renew the lock in --output")
    if update and force:
        raise typer.BadParameter("--update renews the lock as it is: --force has no effect")
    if lengths and not update:
        raise typer.BadParameter("--lengths renews a lock: give --update, or leave it out")
    known = None if parent is None else load_parent(parent, parent_lengths or [])
    if plan is not None:
        write_lock(plan, output, known, force=force)
        say(
            f"wrote {output}; commit it with its lengths and a line `{output.name}/** -text` in .gitattributes, and check it "
            f"with: lazarus data batchplan ci -k {output}"
        )
        return
    paths = lengths or find_lengths(read_artifact(output), list(dict.fromkeys([output, output.parent, Path()])))
    made, changes = update_lock(output, read_caches(paths, trusts_sidecars=False), known)
    show("\n".join(changes))
    say(f"{output} is the lock of plan {made.plan_id}")


def materialise(
    lock: Annotated[Path, typer.Option("-k", "--lock", help="Folder of the lock.")],
    lengths: Lengths,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the plan; not needed with --check.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Build in memory and compare; write nothing.")] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Write what comes out also where it is another plan.")
    ] = False,
    parent: Parent = None,
    parent_lengths: ParentLengths = None,
    output_format: Format = "text",
    force: Force = False,
) -> None:
    """Rebuild the plan of a lock. Exit 1 if an input has changed."""
    from lazarus_plan.format.store import check_replaceable, save_plan
    from lazarus_plan.locks.inputs import load_parent
    from lazarus_plan.locks.lock import materialise as rebuild

    if check == (output is not None):
        raise typer.BadParameter("give one of --output, the folder for the plan, and --check, which writes nothing")
    if check and (anyway or force):
        raise typer.BadParameter(
            f"{'--anyway' if anyway else '--force'} is about writing the plan, --check writes nothing"
        )
    if output is not None:
        check_replaceable(output, force=force)
    with reported(output_format, lock):
        known = None if parent is None else load_parent(parent, parent_lengths or [])
        caches = read_caches(lengths, trusts_sidecars=False)
        plan = rebuild(lock, caches, output if anyway else None, known, force=force)
    if output is not None:
        save_plan(plan, output, force=force)
    if output_format == "json":
        show(json.dumps({"plan": str(lock), "ok": True, "findings": [], "plan_id": plan.plan_id}, indent=2))
    elif output_format == "text":
        show(plan.plan_id)
    show_findings(output_format, lock, [])
    say(f"{'checked' if output is None else f'wrote {output}'}: the plan of the lock, to the byte; data not compared")


def rebase(
    plan: PlanPath,
    step: Annotated[int, typer.Option("--step", help="Steps that were trained and stay.")],
    lengths: Lengths,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the child plan.")],
    token_budget: Annotated[
        int | None, typer.Option("-b", "--token-budget", help="Of the rest [default: as it was].")
    ] = None,
    epochs: Annotated[int | None, typer.Option("-e", "--epochs", help="In all [default: as it was].")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the rest [default: as it was].")] = None,
    force: Force = False,
) -> None:
    """Keep the trained steps and plan the rest anew, for data that was corrected or extended during a run."""
    from lazarus_plan.checks.artifact import load_plan
    from lazarus_plan.format.store import check_replaceable, save_plan
    from lazarus_plan.rebase import rebase_plan
    from lazarus_plan.report.summary import receipt

    check_replaceable(output, force=force)
    parent = load_plan(plan)
    changes = {"token_budget": token_budget, "epochs": epochs, "seed": seed}
    asked = parent.metadata.config.model_dump() | {name: value for name, value in changes.items() if value is not None}
    child = rebase_plan(parent, step, read_caches(lengths), make_config(**asked))
    save_plan(child, output, force=force)
    show(receipt(child))
    say(f"wrote {output}: goes on at step {step} from a checkpoint of {plan}")


def export(
    to: Annotated[
        Literal["torch", "trl", "grain", "mlx"], typer.Option("--to", help="Whose trainer replays the plan.")
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Python file [default: print it].")] = None,
    force: Force = False,
) -> None:
    """Write a Python file that replays plans in another trainer, without lazarus-plan.

    torch: a loader, loss and audit log for a loop. trl: a mixin for trainers of TRL and transformers. grain: a random-access source.
    mlx: a call of mlx-lm's trainer. Labels are those of the data or of `lazarus-tokenkit encode`; settings that would break the plan
    are refused. The run writes an audit log for `lazarus-plan audit`. The head of the file shows how to use it.
    """
    from lazarus_plan.exports import LOADER
    from lazarus_plan.exports import export as source_of

    check_result(output, LOADER, [], force)
    write_result(source_of(to).rstrip(), output)


def _stages(stages: list[str], weights: tuple[int, ...], until: str) -> "tuple[Stage, ...]":
    from pydantic import ValidationError

    from lazarus_plan.config import Stage

    asked = [{"sources": tuple(range(len(weights))), "weights": weights}] if weights else []
    for text in stages:
        pairs = [numbers(pair.replace("=", ","), "--stage") for pair in text.split(",")]
        asked.append(
            {
                "sources": tuple(pair[0] for pair in pairs if pair),
                "weights": tuple(pair[1] for pair in pairs if len(pair) > 1),
            }
        )
    try:
        return tuple(Stage.model_validate({**each, "until": until}) for each in asked)
    except ValidationError as error:
        raise typer.BadParameter(f"--stage: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error


def _fresh_seed() -> int:
    import secrets

    return secrets.randbits(48)
