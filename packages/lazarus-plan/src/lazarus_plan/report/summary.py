"""Summaries of a plan: the receipt of `build` and the output of `info`."""

from collections.abc import Sequence

import numpy as np

from lazarus_core.canonical import JSON
from lazarus_plan.format.fingerprint import UPSTREAM, short
from lazarus_plan.lengths.cache import LengthCache
from lazarus_plan.numbering import Numbering
from lazarus_plan.packing.stats import plan_stats
from lazarus_plan.plan import WHOLE, BatchPlan
from lazarus_plan.report.budget import budget_words

LINKS = (*UPSTREAM, "lengths")


def summary(plan: BatchPlan) -> JSON:
    """Summary of a plan as JSON."""
    return {
        "plan_id": plan.plan_id,
        "config": plan.metadata.config.canonical(),
        **_numbering(plan),
        "sources": [source.model_dump() for source in plan.metadata.sources],
        "epochs": [epoch.model_dump() for epoch in plan.metadata.epochs],
        "excluded": plan.metadata.excluded.model_dump(),
        "parent": plan.metadata.parent.model_dump() if plan.metadata.parent else None,
        "fingerprints": {link: plan.fingerprints[link]["digest"] for link in (*LINKS, "config")},
        "stats": plan_stats(plan),
    }


def _numbering(plan: BatchPlan) -> JSON:
    """The ranges of sample numbers, if the plan lists them."""
    ranges = plan.metadata.numbering
    return {} if ranges is None else {"numbering": [list(each) for each in ranges]}


def lost_answers(plan: BatchPlan, caches: Sequence[LengthCache]) -> int:
    """Number of samples that lose at least as many tokens as have loss, so that an answer at the end is lost whole.

    Args:
        plan: The plan.
        caches: Its length caches, in the order of its sources; those without `loss_tokens` are left out.
    """
    placed = np.zeros(sum(len(cache.length) for cache in caches), dtype=np.int64)
    np.maximum.at(placed, plan.sample, np.maximum(plan.span_start, 0) + plan.length)  # ends of the pieces
    count, numbering = 0, Numbering.of_plan(plan.metadata)
    for source, cache in enumerate(caches):
        ends = placed[numbering.of(source)]
        if cache.loss_tokens is not None:
            is_lost = (ends > 0) & (cache.loss_tokens > 0) & (cache.length - ends >= cache.loss_tokens)
            count += int(is_lost.sum())
    return count


def receipt(plan: BatchPlan, caches: Sequence[LengthCache] = ()) -> str:
    """Summary of a plan as text.

    Args:
        plan: The plan.
        caches: Its length caches; if given, lost answers are counted.
    """
    return "\n".join(f"{name:<10}{text}" for name, text in receipt_lines(plan, caches).items())


def receipt_lines(plan: BatchPlan, caches: Sequence[LengthCache] = ()) -> dict[str, str]:
    """Summary of a plan as texts by their names.

    Args:
        plan: The plan.
        caches: Its length caches; if given, lost answers are counted.
    """
    stats = plan_stats(plan)
    about, config = plan.metadata, plan.metadata.config
    tokens, room = stats["efficiency"]
    low, high = stats["cost_a_step"].values()
    partial = int((plan.span_start != WHOLE).sum())
    fewest, most = stats["rows_a_step"].values()
    rows = f"{fewest} to {most} rows" if fewest < most else f"{most} row{'s' if most > 1 else ''}"
    lines = {
        "plan_id": f"{short(plan.plan_id)}  (seed {config.seed})",
        "steps": f"{stats['steps']:,} in {config.epochs} epoch{'s' if config.epochs > 1 else ''}, {rows} of "
        f"{'' if config.shares_rows else 'up to '}{plan.row_len:,} tokens each",
        "samples": f"{stats['samples']:,} placed, {tokens:,} tokens",
        "rows": "; ".join(sorted({_certificate(epoch) for epoch in stats["packing"]})) + " an epoch",
        "padding": f"{100 * (room - tokens) / room:.2f} % of the rows",
        **({"unused": unused} if (unused := budget_words(plan)) else {}),
        "balance": f"attention cost of a step {low:,} to {high:,}",
    }
    if len(about.sources) > 1:
        lines["mixture"] = "; ".join(_mixture(plan, stage) for stage in range(len(about.epochs[0].stages)))
    left_out = [f"{count:,} {reason}" for reason, count in about.excluded.model_dump().items() if count]
    lines["excluded"] = ", ".join(left_out) or "none"
    lines["cut"] = f"{partial:,} ({config.oversize})" if partial else "none"
    if partial and caches and (lost := lost_answers(plan, caches)):
        lines["lost"] = f"the answers of {lost:,} cut samples, if they are at the end, lose all tokens with loss"
    if about.parent is not None:
        lines["parent"] = f"{short(about.parent.plan_id)}, whose first {about.parent.steps:,} steps stay"
    lines["made from"] = ", ".join(f"{link} {_sources(plan, link)}" for link in LINKS)
    return lines


def _sources(plan: BatchPlan, link: str) -> str:
    """Digests of a link by source, as `lengths build` printed them."""
    return "+".join(map(short, plan.fingerprints[link]["sources"]))


def _certificate(epoch: JSON) -> str:
    if "optimal" not in epoch:
        return f"{epoch['rows']:,}, one a sample"
    if epoch["optimal"]:
        return f"{epoch['rows']:,}: provably minimal"
    return f"{epoch['rows']:,}, at most {epoch['gap']} above the minimum"


def _mixture(plan: BatchPlan, stage: int) -> str:
    about = plan.metadata.epochs[0].stages[stage]
    total = sum(about.rows)
    shares = (
        f"{plan.metadata.sources[source].name} {100 * rows / total:.2f} % of rows ({whole}{'+' if rest else ''} pass{'' if (whole, rest) == (1, 0) else 'es'})"
        for source, rows, (whole, rest) in zip(about.sources, about.rows, about.passes, strict=True)
    )
    return ", ".join(shares)
