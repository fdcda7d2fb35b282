"""`lazarus data batching`: describe a length cache and recommend a batching mode."""

import json
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_core.canonical import MAX_INTEGER
from lazarus_core.cli_app import Alias, App
from lazarus_core.console import show, show_table, warn
from lazarus_plan.cli.option_names import with_options
from lazarus_plan.cli.options import AsJson, numbers

if TYPE_CHECKING:
    from lazarus_core.canonical import JSON
    from lazarus_plan.report.advice import Candidate

DEFAULT_BUDGET = 8192
BAR_WIDTH = 48
SHARES = (5, 25, 50, 75, 95, 99)

app = App(name="batching", help="Describe lengths and choose a batching mode.", no_args_is_help=True)
LengthsPath = Annotated[Path, typer.Option("-l", "--lengths", Alias("--cache"), help="Length cache.")]
Budget = Annotated[
    int, typer.Option("-b", "--token-budget", help="Maximum tokens per step, padding included.", min=1, max=MAX_INTEGER)
]


@app.callback()
def _root() -> None:
    """Describe lengths and choose a batching mode."""


@app.command()
@with_options
def analyze(
    lengths: LengthsPath,
    token_budget: Budget = DEFAULT_BUDGET,
    bucket_edges: Annotated[
        str, typer.Option("--bucket-edges", help="Measure buckets with these row lengths too, as 128,256,512.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Compare every way of batching: padding and attention cost of each.

    Example: -l lengths.jsonl -b 8192 --bucket-edges 128,256,512
    """
    edges = numbers(bucket_edges, "--bucket-edges")
    found = [_row(each) for each in _candidates(lengths, token_budget, edges)]
    if as_json:
        show(json.dumps(found, indent=2))
        return
    show_table(f"{'mode':<10}{'row_len':>9}{'budget':>9}{'padding':>10}{'attention cost':>20}  edges")
    for each in found:
        tokens, padding = each["tokens"], each["padding"]
        edges = ",".join(map(str, each["bucket_edges"]))
        share = f"{100 * padding / (tokens + padding):.2f} %"
        show(
            f"{each['mode']:<10}{each['row_len']:>9,}{each['token_budget']:>9,}{share:>10}{each['cost']:>20,}  {edges}".rstrip()
        )


@app.command()
@with_options
def histogram(
    lengths: LengthsPath,
    bins: Annotated[int, typer.Option("--bins", help="Number of bars.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """Draw a histogram of sample lengths.

    Example: -l lengths.jsonl --bins 30
    """
    import numpy as np

    from lazarus_plan.lengths.sidecar import read_lengths

    length = read_lengths(lengths).length
    ordered = np.sort(length)
    low, high = int(ordered[0]), int(ordered[-1])
    width = -(-(high - low + 1) // bins)
    counts = np.bincount((length - low) // width).tolist()
    quantiles = {share: int(ordered[min(len(ordered) * share // 100, len(ordered) - 1)]) for share in SHARES}
    if as_json:
        bars = [[low + at * width, low + (at + 1) * width, count] for at, count in enumerate(counts)]
        show(json.dumps({"samples": len(length), "quantiles": quantiles, "bins": bars}, indent=2))
        return
    for at, count in enumerate(counts):
        bar = "#" * -(-count * BAR_WIDTH // max(counts))
        show(f"{low + at * width:>7} to {low + (at + 1) * width - 1:<7} {count:>9,} {bar}".rstrip())
    show(
        f"{len(length):,} samples, {low} to {high} tokens; "
        + ", ".join(f"{s} % below {v}" for s, v in quantiles.items())
    )


@app.command()
@with_options
def suggest(lengths: LengthsPath, token_budget: Budget = DEFAULT_BUDGET, as_json: AsJson = False) -> None:
    """Recommend the mode, row length and budget with the least padding, with the reason.

    Example: -l lengths.jsonl -b 8192
    """
    from lazarus_plan.report.advice import reason

    best, *others = _candidates(lengths, token_budget)
    edges = ",".join(map(str, best.bucket_edges))
    options = f"-b {best.token_budget} --mode {best.mode}"
    options += f" --bucket-edges {edges}" if edges else f" --row-len {best.row_len}"
    command = f"lazarus data batchplan build -l {quote(str(lengths))} {options} -o plan"
    why = reason(best, others)
    show(json.dumps({**_row(best), "why": why, "command": command}, indent=2) if as_json else f"{command}\n{why}")


def _candidates(path: Path, token_budget: int, edges: tuple[int, ...] = ()) -> "list[Candidate]":
    from lazarus_plan.lengths.sidecar import read_lengths
    from lazarus_plan.report.advice import bucketed, candidates

    length = read_lengths(path).length
    if int(length.max()) > token_budget:
        raise typer.BadParameter(
            f"the longest sample has {int(length.max())} tokens, the budget is {token_budget}: raise -b"
        )
    found = candidates(length, token_budget)
    if not edges:
        return found
    if list(edges) != sorted(set(edges)) or not 0 < edges[0] <= edges[-1] <= token_budget:
        raise typer.BadParameter(
            f"--bucket-edges {','.join(map(str, edges))}: give ascending numbers from 1 to the budget, {token_budget}"
        )
    longer, longest = int((length > edges[-1]).sum()), int(length.max())
    if longer:
        warn(
            f"{longer:,} samples are longer than the last edge, {edges[-1]:,}: an edge at {longest:,}, the longest, is added"
        )
        edges = (*edges, longest)
    return sorted([*found, bucketed(length, edges, token_budget)], key=lambda each: (each.padding, each.row_len))


def _row(candidate: "Candidate") -> "JSON":
    from dataclasses import asdict

    return asdict(candidate)
