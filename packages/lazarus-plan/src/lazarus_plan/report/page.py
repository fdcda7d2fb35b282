"""The plan as one HTML page."""

from html import escape

import numpy as np
from numpy.typing import NDArray

from lazarus_core.html import Bar, bars, columns, lines, page, section
from lazarus_plan.packing.balance import row_costs
from lazarus_plan.packing.baselines import fill_by_packer
from lazarus_plan.packing.stats import rows_a_step
from lazarus_plan.plan import BatchPlan
from lazarus_plan.report.summary import receipt

NUM_BINS = 40


def report(plan: BatchPlan) -> str:
    """Create the page of a plan."""
    steps = np.diff(plan.step_splits)
    cost = row_costs(plan.length, plan.step_splits)
    sections = [
        section("Lengths", "Tokens of the samples, as they are placed.", _histogram(plan.length, "tokens")),
        section("Fill of rows", "Rows by the share of their tokens that is real.", _fill(plan)),
        section("Samples a step", "How many a step places.", lines([steps], "step", "samples")),
        section("Attention cost a step", "Squared segment lengths: what a step takes.", lines([cost], "step", "cost")),
    ]
    wide = [section("Waste by cause", "Where the token budget of all steps goes.", bars(_waste(plan)))]
    if len(plan.metadata.sources) > 1:
        names = ", ".join(escape(source.name) for source in plan.metadata.sources)
        text = f"Rows of each source ahead of its share ({names}); weights keep it below one at every row."
        wide.append(section("Mixture drift", text, lines(_drift(plan), "step", "rows")))
    text = "The same lengths in other ways: share of the room that is real tokens. Ways, not other projects' code."
    wide.append(section("Other packers on these lengths", text, bars(_others(plan))))
    body = (
        f"<h1>Batch plan</h1><p><code>{escape(plan.plan_id)}</code></p><pre>{escape(receipt(plan))}</pre>\n"
        f'<div class="pair">{"".join(sections)}</div>\n{"".join(wide)}'
    )
    return page(f"Batch plan {plan.plan_id[7:23]}", body, "lazarus-plan")


def waste_by_cause(plan: BatchPlan) -> dict[str, int]:
    """Unused tokens of the budget by cause. With the tokens of samples they add up to steps * token_budget.

    - alignment: gaps between segments, so that the next one starts at a multiple of `align`
    - row ends: no remaining sample fits
    - short steps: fewer rows than the budget allows
    - budget not divisible: the remainder of the budget after whole rows
    """
    config = plan.metadata.config
    rows = rows_a_step(plan)
    tokens = int(plan.tokens.sum())
    room = int((rows * plan.row_lens).sum())
    full = len(plan) * config.token_budget
    whole = int((config.token_budget // plan.row_lens * plan.row_lens).sum())
    start, end = plan.start[1:], plan.end[:-1]
    same_row = start // plan.row_len == (end - 1) // plan.row_len
    same_row[plan.step_splits[1:-1] - 1] = False
    aligned = int((start - end)[same_row].sum()) if config.shares_rows else 0
    return {
        "alignment": aligned,
        "row ends": room - tokens - aligned,
        "short steps": whole - room,
        "budget not divisible": full - whole,
    }


def _histogram(values: NDArray[np.signedinteger], unit: str) -> str:
    low, high = int(values.min()), int(values.max())
    width = -(-(high - low + 1) // NUM_BINS)
    counts = np.bincount((values - low) // width).tolist()
    return columns(counts, [low + at * width for at in range(len(counts) + 1)], unit)


def _fill(plan: BatchPlan) -> str:
    step = np.repeat(np.arange(len(plan)), np.diff(plan.step_splits))
    row = plan.start // plan.row_lens[step]
    is_first = np.ones(len(row), dtype=np.bool_)
    is_first[1:] = (row[1:] != row[:-1]) | (step[1:] != step[:-1])
    first = np.flatnonzero(is_first)
    tokens = np.add.reduceat(plan.length, first, dtype=np.int64)
    share = np.minimum(tokens * 20 // plan.row_lens[step[first]], 19)
    return columns(np.bincount(share, minlength=20).tolist(), list(range(0, 101, 5)), "% of the row")


def _waste(plan: BatchPlan) -> list[Bar]:
    total = len(plan) * plan.metadata.config.token_budget
    found = {"real tokens": int(plan.tokens.sum()), **waste_by_cause(plan)}
    return [
        Bar(name, tokens / total, f"{tokens:,} ({100 * tokens / total:.2f} %)", is_ours=name == "real tokens")
        for name, tokens in found.items()
    ]


def _others(plan: BatchPlan) -> list[Bar]:
    rows = max(1, plan.metadata.config.token_budget // plan.row_len)
    first = plan.metadata.epochs[0]
    last = int(plan.step_splits[first.first_step + first.steps])
    found = fill_by_packer(plan.length[:last], plan.row_len, rows)
    ours = int(plan.tokens.sum()), int((rows_a_step(plan) * plan.row_lens).sum())
    return [
        Bar(name, tokens / room, f"{100 * tokens / room:.2f} %", is_ours=name == "this plan")
        for name, (tokens, room) in {"this plan": ours, **found}.items()
    ]


def _drift(plan: BatchPlan) -> list[NDArray[np.float64]]:
    """Number of rows by which each source is ahead of its share, after each step of the first stage."""
    stage = plan.metadata.epochs[0].stages[0]
    part = plan.steps(stage.first_step, stage.first_step + stage.steps)
    step = np.repeat(np.arange(len(part)), np.diff(part.step_splits))
    begins_row = part.start % part.row_lens[step] == 0
    offsets = [source.offset for source in plan.metadata.sources]
    source = np.searchsorted(offsets, part.sample[begins_row], side="right") - 1
    rows = np.cumsum(np.bincount(step[begins_row], minlength=len(part)))
    drift: list[NDArray[np.float64]] = []
    for place, number in zip(stage.sources, stage.rows, strict=True):
        mine = np.cumsum(np.bincount(step[begins_row][source == place], minlength=len(part)))
        drift.append(mine - rows * (number / sum(stage.rows)))
    return drift
