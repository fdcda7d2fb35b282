"""Check offline that a run followed its plan: the chain is intact, and its steps are the plan's, each once and in order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from numpy.typing import NDArray

from lazarus_plan.audit.line import LEGACY_VERSION, Entry, Header, bound_plan_id
from lazarus_plan.audit.log import data_head, read_log, row_digest
from lazarus_plan.errors import CorruptPlan
from lazarus_plan.findings import Finding
from lazarus_plan.format.fingerprint import short
from lazarus_plan.format.merkle import leaf_hash, merkle_root, root_of_leaves
from lazarus_plan.format.step_codec import encode_lines
from lazarus_plan.plan import BatchPlan, Segment

if TYPE_CHECKING:
    from lazarus_core.canonical import JSON

TokenIds = Callable[[Segment], NDArray[Any]]
"""Function from a segment to its token ids, as the data gives them."""


@dataclass(frozen=True)
class Audit:
    """Result of a check.

    Args:
        version: Version of the log's format. Version 1 binds no weights, settings or models.
        first_step: First step; above 0 only in version 1.
        steps: Number of steps.
        head: Stated hash of the whole chain, which covers everything that is bound.
        data_head: Hash of the chain over the steps alone.
        findings: Problems; empty if the run followed the plan.
        start: Digests of settings, first model and environment in the header, if it binds them.
        bindings: Binding lines, in order.
    """

    version: int
    first_step: int
    steps: int
    head: str
    data_head: str
    findings: tuple[Finding, ...]
    start: dict[str, str] | None = None
    bindings: tuple[Entry, ...] = ()


def check_audit(path: Path | str, plan: BatchPlan, token_ids: TokenIds | None = None) -> Audit:
    """Check an audit log against the plan, and against the data if it is given.

    Args:
        path: The log.
        plan: The expected plan.
        token_ids: Token ids by segment. If given, row digests are recomputed from the data.

    Raises:
        PlanError: There is no log.
        FormatError: A newer version wrote it.
    """
    try:
        header, entries = read_log(path)
        lines = list(entries)
    except CorruptPlan as error:
        return Audit(0, 0, 0, "", "", (Finding(error.code, error.message),))
    steps = [entry for entry in lines if entry.kind is None]
    findings = [*_plans(header, lines, plan), *_chain(header, lines), *_order(lines, _first(header, plan))]
    findings += _leaves(lines, plan)
    if token_ids is not None and not findings:
        findings += _tokens(lines, plan, token_ids)
    return Audit(
        version=header.version,
        first_step=header.first_step,
        steps=len(steps),
        head=(lines[-1].head if lines else header.genesis).hex(),
        data_head=data_head(plan.plan_id, steps),
        findings=tuple(findings),
        start=header.start,
        bindings=tuple(entry for entry in lines if entry.kind is not None),
    )


def _first(header: Header, plan: BatchPlan) -> int:
    """The first step that a log must have: 0, or in version 1 the step of the rebase."""
    parent = plan.metadata.parent
    return parent.steps if header.version == LEGACY_VERSION and header.first_step and parent is not None else 0


def _plans(header: Header, lines: Sequence[Entry], plan: BatchPlan) -> Iterator[Finding]:
    """Check that each plan of a run is rebased from the one before, at the step where the run changed to it."""
    followed, leaves = header.plan_id, list[bytes]()
    for line, entry in enumerate(lines, 2):
        if entry.kind is None:
            leaves.append(entry.leaf)
        elif entry.kind == "plan":
            problem = _not_a_child(entry, followed, leaves)
            if problem:
                yield Finding("LP-E172", f"line {line}: {problem}", line)
                return
            followed = bound_plan_id(entry)
    if followed != plan.plan_id:
        yield Finding("LP-E172", f"the log is of plan {short(followed)}, not of {short(plan.plan_id)}", 1)


def _not_a_child(entry: Entry, followed: str, leaves: Sequence[bytes]) -> str | None:
    """Why a bound plan does not continue the previous one at this step, or None."""
    assert entry.plan is not None, "a line of kind `plan`"
    parent = entry.plan.get("parent")
    said = cast("JSON", parent) if isinstance(parent, dict) else {}
    if said.get("plan_id") != followed:
        return f"the bound plan was not rebased from plan {short(followed)}, which the run followed"
    if said.get("steps") != len(leaves):
        return f"the bound plan was rebased after {said.get('steps')} steps, the run went on after {len(leaves)}"
    if said.get("prefix_root") != root_of_leaves(leaves).hex():
        return "the steps that the bound plan keeps are not those that the run did"
    return None


def _chain(header: Header, lines: Sequence[Entry]) -> Iterator[Finding]:
    head = header.genesis
    for line, entry in enumerate(lines, 2):
        head = entry.chained(head)
        if entry.head != head:
            yield Finding("LP-E174", f"line {line}: the chain is broken at step {entry.step}", line)
            return


def _order(lines: Sequence[Entry], first: int) -> Iterator[Finding]:
    due, steps = first, [entry.step for entry in lines if entry.kind is None]
    present = set(steps)
    for line, entry in enumerate(lines, 2):
        step = entry.step
        if step == due:
            due += entry.kind is None
            continue
        if entry.kind is not None:
            yield Finding("LP-E176", f"line {line}: `{entry.kind}` is bound after {due} steps, it says {step}", line)
        elif len(present) < len(steps):
            yield Finding("LP-E171", f"line {line}: step {step} where step {due} belongs: a step was repeated", line)
        elif due in present:
            yield Finding("LP-E173", f"line {line}: step {step} where step {due} belongs: another order", line)
        else:
            yield Finding("LP-E170", f"line {line}: step {step} follows {due - 1}: steps were skipped", line)
        return


def _leaves(lines: Sequence[Entry], plan: BatchPlan) -> Iterator[Finding]:
    by_step = {entry.step: (line, entry.leaf) for line, entry in enumerate(lines, 2) if entry.kind is None}
    texts = chain.from_iterable(block.splitlines() for block in encode_lines(plan))
    for step, text in enumerate(texts):
        line, leaf = by_step.pop(step, (0, None))
        if line and leaf != leaf_hash(text):
            yield Finding("LP-E172", f"line {line}: step {step} is not the plan's step {step}", line)
            return
    for step, (line, _) in by_step.items():
        yield Finding("LP-E172", f"line {line}: the plan has no step {step}", line)
        return


def _tokens(lines: Sequence[Entry], plan: BatchPlan, token_ids: TokenIds) -> Iterator[Finding]:
    for line, entry in enumerate(lines, 2):
        if entry.kind is not None:
            continue
        rows = plan.step(entry.step).rows
        found = merkle_root(row_digest([token_ids(segment) for segment in row.segments]) for row in rows)
        if found != entry.rows:
            yield Finding("LP-E175", f"line {line}: step {entry.step} was trained on other tokens", line)
            return
