"""Check a plan against itself, using only its own files. Every finding has a stable code.

One pass over `plan.jsonl` in blocks: O(N) time, 10 bytes of memory per placed sample, 14 if samples are cut.
"""

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import cast

import numpy as np

from lazarus_core.canonical import JSON, changed_members
from lazarus_core.source_files import has_markers
from lazarus_plan.checks.documents import check_documents, check_prefixes
from lazarus_plan.checks.geometry import check_geometry
from lazarus_plan.checks.multiplicity import check_multiplicity
from lazarus_plan.errors import CorruptPlan
from lazarus_plan.findings import SHOWN, Finding, first_ones
from lazarus_plan.format.fingerprint import UPSTREAM, digest_lines
from lazarus_plan.format.merkle import merkle_root
from lazarus_plan.format.step_codec import Columns, decode
from lazarus_plan.format.step_json import decode_line
from lazarus_plan.format.store import (
    FINGERPRINTS,
    INDEX,
    METADATA,
    PLAN,
    REMAKE,
    STATS,
    Artifact,
    is_lock,
    read_artifact,
    read_blocks,
)
from lazarus_plan.git_damage import plan_conflict
from lazarus_plan.lengths.cache import ABSENT
from lazarus_plan.malloc_hint import keep_freed
from lazarus_plan.packing.stats import plan_stats, rows_a_step, step_costs
from lazarus_plan.plan import WHOLE, BatchPlan, Integers, length_type, narrow_type

BLOCK = 1 << 16
"""Placed samples per block."""
MIN_EFFICIENCY = (9, 10)
"""LP-W201 below this share of tokens. Best fit reaches over 0.99 on natural lengths."""
MAX_PARTIAL = (1, 100)
"""LP-W202 above this share of split or truncated samples."""
MAX_IMBALANCE = (3, 2)
"""LP-W203 above this cost ratio of the most expensive to the cheapest full step."""
MIN_ROWS_TO_BALANCE = 8
"""Steps with fewer rows cannot be balanced; they get no warning."""
MAX_REPEATS = 4
"""LP-W204 above this number of passes. Repeating helps little after four (Muennighoff et al. 2023, arXiv 2305.16264)."""


def load_plan(path: Path | str) -> BatchPlan:
    """Read a plan and make every check that needs no other file.

    Raises:
        PlanError: The folder is not a plan.
        CorruptPlan: The first problem, with its line.
    """
    plan, findings = inspect(Path(path))
    for finding in findings:
        if finding.is_error:
            raise CorruptPlan(finding.message, finding.code)
    assert plan is not None, "a plan without errors was read"
    return plan


def validate(path: Path | str) -> list[Finding]:
    """All findings about a plan, errors first. For a lock, the documents are checked against each other.

    Raises:
        PlanError: The folder is not a plan, or its metadata cannot be read.
    """
    if is_lock(Path(path)):
        return check_documents(read_artifact(path))
    plan, findings = inspect(Path(path))
    if plan is not None:
        findings += _warnings(plan)
    return sorted(findings, key=lambda finding: not finding.is_error)


def inspect(path: Path) -> tuple[BatchPlan | None, list[Finding]]:
    """Read the lines into a plan as far as possible, and collect the errors."""
    keep_freed()
    artifact = read_artifact(path)
    reading = _Reading(artifact)
    # Hashing consumes the blocks and thereby reads and checks them: one pass over the file.
    digests = digest_lines(reading.blocks())
    findings = reading.findings or reading.check_numbering()
    if findings:
        return None, first_ones(findings)
    plan = reading.plan()
    findings = _check_epochs(plan) or first_ones(check_multiplicity(plan))
    findings += _check_records(plan, artifact, digests) or _check_caches(plan, reading)
    return plan, findings


class _Reading:
    """Reader of `plan.jsonl`. Blocks are checked one by one and stored as narrow columns."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self.findings: list[Finding] = []
        self.steps: list[Columns] = []  # of each block, what stands once a step
        self.stale_index: Finding | None = None
        self.num_steps = self.num_samples = self.num_bytes = 0
        metadata = artifact.metadata
        # The bound from the metadata fixes narrow types before any line is read.
        largest = max(metadata.config.token_budget, sum(source.count for source in metadata.sources))
        room = min(sum(epoch.samples for epoch in metadata.epochs), artifact.max_samples)
        # `cut` is 1 + span_start, 0 where all of a sample stands: zeros that nobody writes take no memory.
        types = {name: narrow_type(largest) for name in ("sample", "start", "cut")}
        types["length"] = length_type(metadata.config.resolved_row_len)
        self.columns = {name: np.zeros(room, dtype=each) for name, each in types.items()}
        self.has_spans = False

    def blocks(self) -> Iterator[bytes]:
        """Yield each block of the file after it is decoded; stop at a block that cannot be decoded."""
        for block in read_blocks(self.artifact.path):
            try:
                columns = decode(block, self.num_steps + 1)
            except CorruptPlan:
                if has_markers(block):
                    raise plan_conflict(self.artifact.path / PLAN) from None
                self.findings = list(_damage(block, self.num_steps + 1))
                return
            self.findings += first_ones(check_geometry(columns, self.artifact.metadata, self.num_steps))
            if len(self.findings) >= SHOWN:
                return
            self._check_index(block)
            self._keep(columns)
            yield block

    def _check_index(self, block: bytes) -> None:
        """Check that the index points to the lines of a block and that its first step is the next one."""
        if self.artifact.offsets is None or self.stale_index is not None:
            return
        # Offset of the byte after each LF: the start of the next line.
        ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n")) + (self.num_bytes + 1)
        self.num_bytes += len(block)
        indexed = self.artifact.offsets[self.num_steps + 1 : self.num_steps + 1 + len(ends)]
        if not np.array_equal(indexed, ends.astype(np.uint64)):
            self.stale_index = Finding("LP-E153", f"{INDEX} does not lead to the lines of {PLAN}: {REMAKE}")

    def _keep(self, columns: Columns) -> None:
        first, last = self.num_samples, self.num_samples + len(columns.sample)
        # WHOLE is -1: shifted by one, a whole sample is 0.
        cut = columns.span_start - WHOLE
        length = columns.end - columns.start
        for name, values in zip(self.columns, (columns.sample, columns.start, cut, length), strict=True):
            kept = self.columns[name]
            if last > len(kept):  # more than the metadata says: kept all the same, to say what is wrong
                # Twice the size, so that the cost of copying stays linear.
                kept = self.columns[name] = np.concatenate([kept[:first], np.zeros(2 * last, dtype=np.int64)])
            # The column is already zero: pages that are never written take no memory.
            if name == "cut" and not values.any():
                continue
            if int(values.max(initial=0)) > np.iinfo(kept.dtype).max:  # damage: kept as it is, not wrapped around
                kept = self.columns[name] = kept.astype(np.int64)
            kept[first:last] = values
        self.has_spans |= bool(cut.any())
        nothing = np.zeros(0, dtype=np.int32)
        self.steps.append(
            # Only values per step are kept; values per sample are in the columns.
            columns._replace(sample=nothing, start=nothing, end=nothing, span_start=nothing, span_end=nothing)
        )
        self.num_steps, self.num_samples = self.num_steps + len(columns.step), last

    def check_numbering(self) -> list[Finding]:
        """Check that the steps are 0, 1, 2, .. up to the number in the metadata."""
        due = sum(epoch.steps for epoch in self.artifact.metadata.epochs)
        numbers = np.concatenate([part.step for part in self.steps] or [np.zeros(0, dtype=np.int64)])
        wrong = np.flatnonzero(numbers != np.arange(len(numbers)))
        if not len(wrong):
            if len(numbers) == due:
                return []
            what = "truncated" if len(numbers) < due else "too long"
            return [Finding("LP-E114", f"plan.jsonl is {what}: {len(numbers)} steps, {METADATA} says {due}")]
        at = int(wrong[0])
        where = f"plan.jsonl:{at + 1}: step {numbers[at]} is at the position of step {at} belongs"
        # Fewer distinct numbers: repeated. The same numbers 0..n-1: reordered. Otherwise some are missing.
        present = np.unique(numbers)
        if len(present) < len(numbers):
            return [Finding("LP-E113", f"{where}: a line occurs twice", at + 1)]
        if int(present[-1]) == len(numbers) - 1:
            return [Finding("LP-E112", f"{where}: lines are in another order", at + 1)]
        return [Finding("LP-E111", f"{where}: steps are missing", at + 1)]

    def plan(self) -> BatchPlan:
        """The plan that was read."""
        metadata = self.artifact.metadata
        sizes = np.concatenate([part.sizes for part in self.steps])
        row_lens = np.concatenate([part.row_lens for part in self.steps])
        row_len = metadata.config.resolved_row_len
        sample, start, cut, length = (column[: self.num_samples] for column in self.columns.values())
        span_start: Integers = np.broadcast_to(np.int32(WHOLE), self.num_samples)
        if self.has_spans:
            # In place: a view of the same memory under its final meaning.
            span_start = cut
            span_start += WHOLE
            for begin in range(0, len(cut), BLOCK):
                part = slice(begin, begin + BLOCK)
                # A line with spans gives them for whole samples too; a piece that starts at 0 fills its row.
                is_whole = (span_start[part] == 0) & (length[part] != row_len)
                span_start[part][is_whole] = WHOLE
        self.steps.clear()
        return BatchPlan(
            metadata=metadata,
            fingerprints=self.artifact.fingerprints,
            sample=sample,
            start=start,
            length=length,
            step_splits=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            row_lens=np.where(row_lens > 0, row_lens, row_len).astype(np.int64),
            span_start=span_start,
            prefixes=self.artifact.prefixes,
        )


def _damage(block: bytes, first_line: int) -> Iterator[Finding]:
    """Describe the damaged lines of a block."""
    shown = 0
    for number, raw in enumerate(block.splitlines(keepends=True), first_line):
        try:
            decode_line(raw, number)
        except CorruptPlan as error:
            yield Finding(error.code, error.message, number)
            shown += 1
            if shown == SHOWN:
                return


def _check_epochs(plan: BatchPlan) -> list[Finding]:
    """Check that the epochs in the metadata cover the steps and have the right counts."""
    first_step = 0
    for number, epoch in enumerate(plan.metadata.epochs):
        last_step = first_step + epoch.steps
        if (epoch.epoch, epoch.first_step) != (number, first_step) or epoch.steps < 1 or last_step > len(plan):
            return [Finding("LP-E151", f"{METADATA}: epoch {number} does not follow the one before it")]
        # Difference of boundaries: samples of the steps in between.
        samples = int(plan.step_splits[last_step] - plan.step_splits[first_step])
        tokens = int(plan.tokens[first_step:last_step].sum())
        if (samples, tokens) != (epoch.samples, epoch.tokens):
            return [
                Finding(
                    "LP-E151",
                    f"{METADATA}: epoch {number} counts {epoch.samples} samples and {epoch.tokens} tokens, the plan has "
                    f"{samples} and {tokens}",
                )
            ]
        first_step = last_step
    if len(plan.metadata.epochs) != plan.metadata.config.epochs:
        return [
            Finding("LP-E151", f"{METADATA}: {len(plan.metadata.epochs)} epochs, the configuration asks for others")
        ]
    return []


def _check_records(plan: BatchPlan, artifact: Artifact, digests: tuple[str, str, int]) -> list[Finding]:
    """Check fingerprints and stats against the lines, and the documents against each other."""
    sha, root, steps = digests
    stored = artifact.fingerprints
    findings = [
        Finding("LP-E151", f"{FINGERPRINTS}: `{name}` does not match {PLAN}: the plan was edited after it was built")
        for name, value in (("plan_sha256", sha), ("merkle_root", root))
        if stored.get(name) != value
    ]
    if not findings and _digest_member(stored, "plan", "count") != steps:
        findings.append(Finding("LP-E151", f"{FINGERPRINTS}: `plan` counts other steps than {PLAN} has: edited"))
    findings = findings or _check_parent(plan, artifact)
    if findings:
        return findings
    stats = plan_stats(plan)
    if artifact.stats != stats:
        names = ", ".join(f"`{name}`" for name in changed_members(artifact.stats, stats))
        return [Finding("LP-E151", f"{STATS}: {names} disagree with the plan")]
    return check_documents(artifact)


def _check_parent(plan: BatchPlan, artifact: Artifact) -> list[Finding]:
    """Check that a rebased plan starts with the stated number of lines of its parent, by their Merkle root."""
    parent = plan.metadata.parent
    if parent is None:
        return []
    lines = chain.from_iterable(block.splitlines() for block in read_blocks(artifact.path))
    # Blocks are read lazily: reading stops after the parent's lines.
    root = merkle_root(islice(lines, parent.steps)).hex()
    if 0 < parent.steps < len(plan) and root == parent.prefix_root:
        return []
    return [Finding("LP-E151", f"{METADATA}: `parent` does not match the first {parent.steps} lines of {PLAN}")]


def _digest_member(prints: JSON, link: str, name: str) -> object:
    """A member of a link, or None if the link is missing or not an object."""
    members = prints.get(link)
    return cast("JSON", members).get(name) if isinstance(members, dict) else None


def _check_caches(plan: BatchPlan, reading: _Reading) -> list[Finding]:
    """Check the derived files: the index of the lines and the prefixes of row digests."""
    findings = [reading.stale_index] if reading.stale_index else []
    offsets = reading.artifact.offsets
    if offsets is not None and not findings and (len(offsets) != len(plan) + 1 or offsets[0]):
        findings.append(Finding("LP-E153", f"{INDEX} has another number of lines than {PLAN}: {REMAKE}"))
    return findings + check_prefixes(reading.artifact)


def _warnings(plan: BatchPlan) -> list[Finding]:
    findings: list[Finding] = []
    stats = plan_stats(plan)
    tokens, room = stats["efficiency"]
    # Ratios are compared by cross-multiplication, in integers.
    if tokens * MIN_EFFICIENCY[1] < room * MIN_EFFICIENCY[0]:
        findings.append(Finding("LP-W201", f"{100 * (room - tokens) / room:.1f} % of all tokens are padding"))
    partial = int((plan.span_start != WHOLE).sum())
    if partial * MAX_PARTIAL[1] > len(plan.sample) * MAX_PARTIAL[0]:
        findings.append(Finding("LP-W202", f"{partial} of {len(plan.sample)} placed samples are cut"))
    low, high = _cost_of_full_steps(plan)
    if high * MAX_IMBALANCE[1] > low * MAX_IMBALANCE[0]:
        findings.append(Finding("LP-W203", f"full steps cost from {low} to {high} squared tokens"))
    most = plan.metadata.config.epochs * max(plan.metadata.config.repeats, default=1)
    if most > MAX_REPEATS:
        findings.append(Finding("LP-W204", f"a sample is seen {most} times: gains fade after {MAX_REPEATS}"))
    absent = [link for link in UPSTREAM if _digest_member(plan.fingerprints, link, "digest") == ABSENT]
    if absent:
        findings.append(
            Finding(
                "LP-W205",
                f"no fingerprint of {', '.join(absent)}: the inputs of the plan cannot be proven; "
                "build lengths with `lazarus_tokenkit.build_lengths`",
            )
        )
    return findings


def _cost_of_full_steps(plan: BatchPlan) -> tuple[int, int]:
    """Cost of the cheapest and of the most expensive step among those with the most rows."""
    rows = rows_a_step(plan)
    if plan.metadata.config.mode != "packed" or rows.max() < MIN_ROWS_TO_BALANCE:
        return 1, 1
    # Steps with fewer rows cost less by design: only full ones are compared.
    costs = step_costs(plan)[rows == rows.max()]
    return int(costs.min()), int(costs.max())
