"""`lazarus-plan`, also `lazarus data batchplan`: build, inspect, check and deal batch plans."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lazarus_plan.console import run, say, show, version_option

if TYPE_CHECKING:
    from lazarus_plan.canonical import JSON
    from lazarus_plan.config import PlanConfig
    from lazarus_plan.plan import BatchPlan, Row, Step

PREDICTABLE_SEED = 0
"""What `--predictable` plans with."""

app = typer.Typer(
    name="lazarus-plan",
    help="The lockfile for training runs: build, inspect, check and deal batch plans.",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
)

PlanPath = Annotated[Path, typer.Option("-p", "--plan", help="Folder of the plan.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]


@app.callback()
def _root(version: Annotated[bool, version_option("lazarus-plan")] = False) -> None:
    """The lockfile for training runs: build, inspect, check and deal batch plans."""


@app.command()
def build(
    lengths: Annotated[Path, typer.Option("-l", "--lengths", help="Length cache: JSON lines of id and length.")],
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
    oversize: Annotated[
        Literal["error", "exclude", "truncate", "split"],
        typer.Option("--oversize", help="What becomes of a sample longer than a row."),
    ] = "error",
    zero_length: Annotated[
        Literal["error", "exclude"], typer.Option("--zero-length", help="What becomes of a sample without tokens.")
    ] = "error",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan and report, write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Plan every step of a run, once."""
    from lazarus_plan.build import build_plan
    from lazarus_plan.sidecar import read_lengths
    from lazarus_plan.store import save_plan

    if predictable and seed not in (None, PREDICTABLE_SEED):
        raise typer.BadParameter("--predictable means seed 0; give one of --predictable and --seed")
    config = _config(
        token_budget=token_budget,
        epochs=epochs,
        row_len=row_len,
        seed=PREDICTABLE_SEED if predictable else _fresh_seed() if seed is None else seed,
        oversize=oversize,
        zero_length=zero_length,
    )
    plan = build_plan(read_lengths(lengths), config)
    if not dry_run:
        save_plan(plan, output)
    if as_json:
        show(json.dumps(_summary(plan), indent=2))
        return
    show(_receipt(plan))
    if dry_run:
        say("dry run: nothing was written")
    else:
        say(f"wrote {output}; next: lazarus data batchplan validate -p {output} --strict")


@app.command()
def info(plan: PlanPath, as_json: AsJson = False) -> None:
    """Say what a plan holds; checks it on the way."""
    from lazarus_plan.validation import load_plan

    loaded = load_plan(plan)
    show(json.dumps(_summary(loaded), indent=2) if as_json else _receipt(loaded))


@app.command()
def validate(
    plan: PlanPath,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a plan against itself: exit 0 if it is sound, 1 if not."""
    from lazarus_plan.validation import validate as find

    findings = find(plan)
    failed = any(finding.is_error or strict for finding in findings)
    if as_json:
        listed = [{"code": finding.code, "message": finding.message} for finding in findings]
        show(json.dumps({"plan": str(plan), "ok": not failed, "findings": listed}, indent=2))
    else:
        for finding in findings:
            kind = "error" if finding.is_error or strict else "warning"
            show(f"{kind} {finding.code}: {finding.message}")
        errors = sum(finding.is_error or strict for finding in findings)
        say(f"{plan}: {f'{errors} problem(s)' if errors else 'sound'}, {len(findings) - errors} warning(s)")
    raise typer.Exit(1 if failed else 0)


@app.command()
def shard(
    plan: PlanPath,
    world: Annotated[int, typer.Option("--world", help="Number of ranks.", min=1)],
    rank: Annotated[int, typer.Option("--rank", help="Which of them, from 0.", min=0)],
    step: Annotated[int | None, typer.Option("--step", help="Only this step.", min=0)] = None,
    policy: Annotated[
        Literal["contiguous", "stride", "snake", "lpt"], typer.Option("--policy", help="How rows are dealt.")
    ] = "snake",
) -> None:
    """Print, as JSON lines, the rows that one rank trains on."""
    from lazarus_plan.cursor import PlanCursor
    from lazarus_plan.validation import load_plan

    if rank >= world:
        raise typer.BadParameter(f"rank {rank} is not one of 0..{world - 1}")
    loaded = load_plan(plan)
    if step is not None and step >= len(loaded):
        raise typer.BadParameter(f"step {step} is outside the plan's 0..{len(loaded) - 1}")
    cursor = PlanCursor(loaded, rank, world, policy=policy)
    for index in range(len(loaded)) if step is None else [step]:
        share = cursor.share(index)
        show(_share_line(share.step, [row for batch in share.micro_batches for row in batch]))


def _share_line(step: "Step", rows: "list[Row]") -> str:
    listed = [
        {
            "samples": [segment.sample for segment in row.segments],
            "packing": [[segment.start, segment.end] for segment in row.segments],
        }
        for row in rows
    ]
    return json.dumps({"step": step.index, "step_tokens": step.tokens, "rows": listed}, separators=(",", ":"))


def _config(**settings: object) -> "PlanConfig":
    from pydantic import ValidationError

    from lazarus_plan.config import PlanConfig

    try:
        return PlanConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-") + ": " if first["loc"] else ""
        raise typer.BadParameter(f"{option}{first['msg'].removeprefix('Value error, ')}") from error


def _fresh_seed() -> int:
    import secrets

    return secrets.randbits(48)


def _summary(plan: "BatchPlan") -> "JSON":
    from lazarus_plan.stats import plan_stats

    return {
        "plan_id": plan.plan_id,
        "config": plan.metadata.config.canonical(),
        "sources": [source.model_dump() for source in plan.metadata.sources],
        "epochs": [epoch.model_dump() for epoch in plan.metadata.epochs],
        "excluded": plan.metadata.excluded.model_dump(),
        "fingerprints": {
            link: plan.fingerprints[link]["digest"] for link in ("data", "template", "tokenizer", "lengths", "config")
        },
        "stats": plan_stats(plan),
    }


def _receipt(plan: "BatchPlan") -> str:
    from lazarus_plan.fingerprint import short
    from lazarus_plan.plan import WHOLE
    from lazarus_plan.stats import plan_stats

    stats = plan_stats(plan)
    config = plan.metadata.config
    tokens, room = stats["efficiency"]
    low, high = stats["cost_a_step"].values()
    excluded = plan.metadata.excluded
    left_out = [f"{count} {reason}" for reason, count in excluded.model_dump().items() if count]
    partial = int((plan.span_start != WHOLE).sum())
    lines = {
        "plan_id": f"{short(plan.plan_id)}  (seed {config.seed})",
        "steps": f"{stats['steps']:,} in {config.epochs} epoch{'s' if config.epochs > 1 else ''}, "
        f"{stats['rows_per_step']} rows of {plan.row_len} tokens each",
        "samples": f"{stats['samples']:,} placed, {tokens:,} tokens",
        "rows": "; ".join(sorted({_certificate(epoch) for epoch in stats["packing"]})) + " an epoch",
        "padding": f"{100 * (room - tokens) / room:.2f} % of the rows",
        "balance": f"attention cost of a step {low:,} to {high:,}",
        "excluded": ", ".join(left_out) or "none",
        "cut": f"{partial:,} ({config.oversize})" if partial else "none",
        "made from": ", ".join(
            f"{link} {short(plan.fingerprints[link]['digest'])}"
            for link in ("data", "template", "tokenizer", "lengths")
        ),
    }
    return "\n".join(f"{name:<10}{text}" for name, text in lines.items())


def _certificate(epoch: "JSON") -> str:
    if epoch["optimal"]:
        return f"{epoch['rows']:,}: provably minimal"
    return f"{epoch['rows']:,}, at most {epoch['gap']} above the minimum"


def main() -> None:
    """The console script."""
    run(app, "lazarus-plan")
