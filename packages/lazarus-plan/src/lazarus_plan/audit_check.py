"""Offline proof that a run followed its plan: the chain is intact, its leaves are the plan's, no step skipped or repeated."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lazarus_plan.audit import entry_digest, genesis, parse, row_digest
from lazarus_plan.codec import encode_lines
from lazarus_plan.errors import PlanError
from lazarus_plan.findings import Finding
from lazarus_plan.merkle import leaf_hash, merkle_root
from lazarus_plan.plan import BatchPlan, Segment

TokenIds = Callable[[Segment], NDArray[Any]]
"""From a segment to the token ids that the data give for it."""


@dataclass(frozen=True)
class Audit:
    """What a log proves.

    Args:
        first_step: Where it begins.
        steps: How many it holds.
        head: Hash of the chain, as the log says.
        findings: What is wrong; none if the run followed the plan.
    """

    first_step: int
    steps: int
    head: str
    findings: tuple[Finding, ...]


def check_audit(path: Path | str, plan: BatchPlan, token_ids: TokenIds | None = None) -> Audit:
    """Holds an audit log against the plan, and against the data where they are at hand.

    Args:
        path: The log.
        plan: What the run should have followed.
        token_ids: Given, row digests are recomputed from the data.

    Raises:
        PlanError: There is no log.
    """
    path = Path(path)
    if not path.is_file():
        raise PlanError(f"{path} does not exist: a run writes its audit log as OUT/audit.jsonl", "LP-E009")
    lines = path.read_bytes().splitlines(keepends=True)
    header = parse(lines[0]) if lines else {}
    entries = [parse(line) for line in lines[1:]]
    first = header.get("first_step", 0)
    findings = [*_header(header, plan), *_chain(header, entries), *_order(entries, first), *_leaves(entries, plan)]
    if token_ids is not None and not findings:
        findings += _tokens(entries, plan, token_ids)
    head = entries[-1].get("head", "") if entries else ""
    return Audit(first, len(entries), head, tuple(findings))


def _header(header: dict[str, Any], plan: BatchPlan) -> Iterator[Finding]:
    if header.get("plan_id") != plan.plan_id:
        yield Finding("LP-E172", f"the log is of plan {header.get('plan_id')}, not of {plan.plan_id}", 1)


def _chain(header: dict[str, Any], entries: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    try:
        head = genesis(str(header.get("plan_id")))
    except ValueError:
        head = b""
    for line, entry in enumerate(entries, 2):
        head = entry_digest(entry).chain(head)
        if entry.get("head") != head.hex():
            yield Finding("LP-E174", f"line {line}: the chain is broken at step {entry.get('step')}", line)
            return


def _order(entries: Sequence[dict[str, Any]], first: int) -> Iterator[Finding]:
    steps = [entry.get("step") for entry in entries]
    present = set(steps)
    for line, (step, due) in enumerate(zip(steps, range(first, first + len(steps)), strict=True), 2):
        if step == due:
            continue
        if not isinstance(step, int):
            yield Finding("LP-E174", f"line {line}: no step", line)
        elif len(present) < len(steps):
            yield Finding("LP-E171", f"line {line}: step {step} where step {due} belongs: a step was repeated", line)
        elif due in present:
            yield Finding("LP-E173", f"line {line}: step {step} where step {due} belongs: another order", line)
        else:
            yield Finding("LP-E170", f"line {line}: step {step} follows {due - 1}: steps were skipped", line)
        return


def _leaves(entries: Sequence[dict[str, Any]], plan: BatchPlan) -> Iterator[Finding]:
    by_step = {entry.get("step"): (line, entry.get("leaf")) for line, entry in enumerate(entries, 2)}
    lines = chain.from_iterable(block.splitlines() for block in encode_lines(plan))
    for step, text in enumerate(lines):
        line, leaf = by_step.pop(step, (0, None))
        if line and leaf != leaf_hash(text).hex():
            yield Finding("LP-E172", f"line {line}: step {step} is not the plan's step {step}", line)
            return
    for step, (line, _) in by_step.items():
        yield Finding("LP-E172", f"line {line}: the plan has no step {step}", line)
        return


def _tokens(entries: Sequence[dict[str, Any]], plan: BatchPlan, token_ids: TokenIds) -> Iterator[Finding]:
    for line, entry in enumerate(entries, 2):
        rows = plan.step(entry["step"]).rows
        found = merkle_root(row_digest([token_ids(segment) for segment in row.segments]) for row in rows)
        if found.hex() != entry["rows"]:
            yield Finding("LP-E175", f"line {line}: step {entry['step']} was trained on other tokens", line)
            return
