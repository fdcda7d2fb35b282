"""The plan as one HTML page."""

import json
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lazarus_core.html import (
    Bar,
    Origin,
    bars,
    columns,
    facts,
    figures,
    in_words,
    lines,
    more,
    page,
    section,
)
from lazarus_plan.config import PlanConfig
from lazarus_plan.numbering import Numbering
from lazarus_plan.packing.balance import row_costs
from lazarus_plan.packing.baselines import fill_by_packer
from lazarus_plan.packing.stats import rows_a_step
from lazarus_plan.plan import BatchPlan
from lazarus_plan.report.summary import receipt_lines

NUM_BINS = 40
_ALWAYS = ("token_budget", "seed")
"""Settings that are listed even at their defaults."""


def report(plan: BatchPlan, origin: Origin | None = None) -> str:
    """Create the page of a plan.

    Args:
        plan: The plan.
        origin: Command and time for the footer. Without it, the page of a plan is always the same.
    """
    steps = np.diff(plan.step_splits)
    cost = row_costs(plan.length, plan.step_splits)
    sections = [
        section("Lengths", "Samples by their tokens, as they are placed.", _histogram(plan.length, "tokens")),
        section("Fill of rows", "Rows by the share of their tokens that is real.", _fill(plan)),
        section("Samples per step", "How many samples a step places.", lines([steps], "step", "samples")),
        section(
            "Attention cost per step",
            "Sum of the squared segment lengths: what the attention of a step computes.",
            lines([cost], "step", "squared tokens"),
        ),
    ]
    waste = "Where the token budget of all steps goes."
    wide = [section("Waste by cause", waste, bars(_waste(plan)))]
    names = [source.name for source in plan.metadata.sources]
    if len(names) > 1:
        text = "Rows of each source ahead of its share. Weights keep it below one at every row."
        drift = _drift(plan)
        stage = plan.metadata.epochs[0].stages[0]
        wide.append(
            section("Mixture drift", text, lines(drift, "step", "rows ahead", [names[each] for each in stage.sources]))
        )
    text = "The same lengths batched in other ways: share of the rows that is real tokens. These are ways to batch, not measurements of other projects' code."
    wide.append(section("Other packers on these lengths", text, bars(_others(plan))))
    title = f"Batch plan of {in_words(names)}"
    about = receipt_lines(plan)
    del about["plan_id"]  # the whole id is above
    body = (
        f"<header><h1>{escape(title)}</h1><p><code>{escape(plan.plan_id)}</code></p></header>"
        f"{figures(_key_figures(plan))}{facts(about)}\n"
        f'<div class="pair">{"".join(sections)}</div>\n{"".join(wide)}{_settings(plan)}'
    )
    return page(f"{title} · {plan.plan_id[7:19]}", body, "lazarus-plan", origin=origin)


def _key_figures(plan: BatchPlan) -> dict[str, str]:
    tokens, full = int(plan.tokens.sum()), len(plan) * plan.metadata.config.token_budget
    return {
        "steps": f"{len(plan):,}",
        "samples placed": f"{len(plan.sample):,}",
        "real tokens": f"{tokens:,}",
        "of the budget used": f"{100 * tokens / full:.2f} %",
    }


def _settings(plan: BatchPlan) -> str:
    """Settings that differ from the defaults, and the others in a closed part."""
    config = plan.metadata.config.canonical()
    defaults = PlanConfig(token_budget=1).canonical()
    given = {name: value for name, value in config.items() if name in _ALWAYS or value != defaults.get(name)}
    others = {name: _shown(value) for name, value in config.items() if name not in given}
    listed = facts({name: _shown(value) for name, value in given.items()})
    rest = more(f"{len(others)} settings at their defaults", facts(others)) if others else ""
    return section("Settings", "Budget and seed, and those that differ from their defaults.", listed + rest)


def _shown(value: Any) -> str:
    """The value of a setting, as a configuration writes it."""
    return value if isinstance(value, str) else "none" if value in (None, []) else json.dumps(value, ensure_ascii=False)


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
    return columns(np.bincount(share, minlength=20).tolist(), list(range(0, 101, 5)), "% of the row", "rows")


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
    source = Numbering.of_plan(plan.metadata).source_of(part.sample[begins_row])
    rows = np.cumsum(np.bincount(step[begins_row], minlength=len(part)))
    drift: list[NDArray[np.float64]] = []
    for place, number in zip(stage.sources, stage.rows, strict=True):
        mine = np.cumsum(np.bincount(step[begins_row][source == place], minlength=len(part)))
        drift.append(mine - rows * (number / sum(stage.rows)))
    return drift
