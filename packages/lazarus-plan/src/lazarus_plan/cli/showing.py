"""Commands that show: info, shard, diff, explain, stats."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_core.commands import Force
from lazarus_core.console import show, warn
from lazarus_plan.cli.options import (
    AsJson,
    Deal,
    Format,
    PlanPath,
    World,
    check_result,
    choose_format,
    read_caches,
    reported,
    show_findings,
    write_result,
)

if TYPE_CHECKING:
    from lazarus_core.canonical import JSON
    from lazarus_plan.plan import Row, Step


def info(
    plan: PlanPath,
    show_batches: Annotated[
        int, typer.Option("--show-batches", help="List the rows of the first so many steps too.", min=0)
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Show the content of a plan or lock, after checking it.

    Example: -p plan --show-batches 5
    """
    from lazarus_plan.checks.artifact import load_plan
    from lazarus_plan.checks.documents import load_documents
    from lazarus_plan.format.store import is_lock
    from lazarus_plan.locks.checks import lock_receipt, lock_summary
    from lazarus_plan.report.explain import explain_step
    from lazarus_plan.report.summary import receipt, summary

    if is_lock(plan):
        if show_batches:
            raise typer.BadParameter(f"{plan} is a lock, which has no rows: make its plan with `materialise` first")
        documents = load_documents(plan)
        show(json.dumps(lock_summary(documents), indent=2) if as_json else lock_receipt(documents))
        return
    loaded = load_plan(plan)
    batches = [explain_step(loaded, index, 1, "snake") for index in range(min(show_batches, len(loaded)))]
    if as_json:
        show(json.dumps(summary(loaded) | ({"batches": batches} if batches else {}), indent=2))
        return
    show(receipt(loaded))
    for batch in batches:
        show(_explanation(batch, shows_ranks=False))


def shard(
    plan: PlanPath,
    world: World,
    rank: Annotated[int, typer.Option("--rank", help="0-based rank.", min=0)],
    step: Annotated[int | None, typer.Option("--step", help="Only this step.", min=0)] = None,
    policy: Deal = "snake",
) -> None:
    """Print, as JSON lines, the rows that one rank trains on.

    Example: -p plan --world 8 --rank 0 --step 12
    """
    from lazarus_plan.checks.artifact import load_plan
    from lazarus_plan.cursor import PlanCursor

    if rank >= world:
        raise typer.BadParameter(f"rank {rank} is not one of 0..{world - 1}")
    loaded = load_plan(plan)
    if step is not None and step >= len(loaded):
        raise typer.BadParameter(f"step {step} is outside the plan's 0..{len(loaded) - 1}")
    cursor = PlanCursor(loaded, rank, world, policy=policy)
    for index in range(len(loaded)) if step is None else [step]:
        share = cursor.share(index)
        show(_share_line(share.step, [row for batch in share.micro_batches for row in batch]))


def diff(
    old: Annotated[Path, typer.Argument(help="Folder of one plan.")],
    new: Annotated[Path, typer.Argument(help="Folder of another.")],
    lengths: Annotated[
        list[Path] | None,
        typer.Option("-l", "--lengths", help="Length caches of both plans, in any order: changed rows are named."),
    ] = None,
    output_format: Format = "text",
    as_json: AsJson = False,
) -> None:
    """Compare two plans or locks: first link, first step, rows, samples. Exit 1 if they differ.

    Example: old_plan new_plan
    """
    from lazarus_plan.checks.artifact import load_plan
    from lazarus_plan.checks.diff import describe_diff, diff_locks, diff_plans, diff_rows
    from lazarus_plan.checks.documents import load_documents
    from lazarus_plan.findings import Finding
    from lazarus_plan.format.store import PLAN

    chosen = choose_format(output_format, as_json)
    with reported(chosen, new):
        if all((path / PLAN).is_file() for path in (old, new)):
            found = diff_plans(load_plan(old), load_plan(new))
        else:
            found = diff_locks(load_documents(old), load_documents(new))
        caches = read_caches(lengths or [], trusts_sidecars=False)
        rows = diff_rows(load_documents(old), load_documents(new), caches) if lengths else None
    lines = describe_diff(found, rows)
    is_same = found["old"] == found["new"]
    if chosen == "json":
        show(json.dumps(found | ({} if rows is None else {"rows": rows.to_json()}), indent=2))
    elif chosen == "text":
        show("\n".join(lines))
    else:
        show_findings(
            chosen, new, [] if is_same else [Finding("LP-E150", f"not the plan of {old}: {'; '.join(lines)}")]
        )
    raise typer.Exit(0 if is_same else 1)


def explain(
    plan: PlanPath,
    sample: Annotated[int | None, typer.Option("--sample", help="Sample to explain.", min=0)] = None,
    step: Annotated[int | None, typer.Option("--step", help="Step to explain.", min=0)] = None,
    data: Annotated[
        list[Path] | None, typer.Option("-d", "--data", help="The data files, to show the text of the rows.")
    ] = None,
    world: World = 1,
    policy: Deal = "snake",
    as_json: AsJson = False,
) -> None:
    """Explain a sample's position or a step's rows: neighbours, ranks, reasons. With --data, show the text.

    Example: -p plan --sample 42 -d train.jsonl
    """
    from lazarus_plan.checks.against_data import knows_files
    from lazarus_plan.checks.artifact import load_plan
    from lazarus_plan.report.explain import explain_sample, explain_step, plan_rows

    if (sample is None) == (step is None):
        raise typer.BadParameter("give one of --sample and --step")
    loaded = load_plan(plan)
    if sample is not None:
        found = explain_sample(loaded, sample, world, policy)
        positions = [sample]
    else:
        assert step is not None, "one of the two is given"
        found = explain_step(loaded, step, world, policy)
        positions = sorted({each for row in found["rows"] for each in row["samples"]})
    if data:
        if not knows_files(loaded):
            warn("the plan has no digests of its data files: these rows were not compared with it")
        found["text"] = plan_rows(loaded, data, positions)
    show(json.dumps(found, indent=2) if as_json else _explanation(found))


def stats(
    plan: PlanPath,
    html: Annotated[Path | None, typer.Option("--html", help="Write one self-contained page to this file.")] = None,
    force: Force = False,
) -> None:
    """Print the cost and padding of a plan as JSON, or write it as an HTML page.

    Example: -p plan --html plan.html
    """
    from lazarus_core.html import PAGE, this_command
    from lazarus_plan.checks.artifact import load_plan
    from lazarus_plan.packing.stats import plan_stats

    check_result(html, PAGE, [plan], force)
    loaded = load_plan(plan)
    if html is None:
        show(json.dumps(plan_stats(loaded), indent=2))
        return
    from lazarus_plan.report.page import report

    write_result(report(loaded, this_command()), html)


def _share_line(step: "Step", rows: "list[Row]") -> str:
    listed = [
        {
            "samples": [segment.sample for segment in row.segments],
            "packing": [[segment.start, segment.end] for segment in row.segments],
        }
        for row in rows
    ]
    return json.dumps({"step": step.index, "step_tokens": step.tokens, "rows": listed}, separators=(",", ":"))


def _explanation(found: "JSON", *, shows_ranks: bool = True) -> str:
    if "places" in found:
        lines = [f"sample {found['sample']}: row {found['position']} of {found['source']}"]
        for place in found["places"]:
            span = f", its tokens {place['span'][0]} to {place['span'][1]}" if place["span"] else ""
            company = ", ".join(map(str, place["shares_row_with"])) or "none"
            lines.append(
                f"  step {place['step']}, row {place['row']}, tokens {place['tokens'][0]} to {place['tokens'][1]}{span}, "
                f"rank {place['rank']}; shares the row with {company}"
            )
        lines.append(f"  why: {found['why']}")
    else:
        lines = [
            f"step {found['step']} of epoch {found['epoch']}: {found['tokens']} tokens in rows of {found['row_len']}"
        ]
        for row in found["rows"]:
            samples = ", ".join(
                f"{sample} [{start}, {end})"
                for sample, (start, end) in zip(row["samples"], row["packing"], strict=True)
            )
            rank = f", rank {row['rank']}" if shows_ranks else ""
            lines.append(f"  row {row['row']}{rank}, {row['tokens']} tokens: {samples}")
    for position, text in found.get("text", {}).items():
        lines += [f"-- sample {position}", text]
    return "\n".join(lines)
