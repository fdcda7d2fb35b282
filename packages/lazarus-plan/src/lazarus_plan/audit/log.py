"""The audit log: the rows that a run trained on and its results, as one chain of hashes over all lines.

`line` defines the lines. `head` = SHA-256(previous head || leaf || rows || bind); the first previous head is
SHA-256(0x04 || the header without its line feed).

- row digest = SHA-256(0x02 || token ids as u32 LE || segment ends as u32 LE), over the row's real tokens
- of a step line, `rows` = Merkle root of the step's row digests, in the plan's row order, and `leaf` = the RFC 6962 leaf
  hash of the step's line in `plan.jsonl`
- of a binding line, `leaf` is the hash of what is bound and `rows` the Merkle root over its parts

The *data head* is the same chain over the step lines alone, starting from the 32 bytes of the plan_id. It is computed on
demand. It is equal for every world size, for full training and for adapters; the head differs because it covers weights.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lazarus_core.atomic import whole_file
from lazarus_core.canonical import JSON
from lazarus_core.reasons import absent_or
from lazarus_plan.audit.line import (
    AUDIT_VERSION,
    MAX_LINE,
    START,
    Binding,
    Entry,
    Header,
    Kind,
    bound_plan_id,
    chain,
    data_genesis,
    entry_line,
    line_of,
    parse_entry,
    parse_header,
)
from lazarus_plan.errors import CorruptPlan, PlanError, StalePlan
from lazarus_plan.format.fingerprint import short
from lazarus_plan.format.merkle import leaf_hash, merkle_root

REWOUND = ".rewound"
"""Suffix of the file with the cut-off lines of a log."""


def row_digest(ids: Sequence[NDArray[np.integer]]) -> bytes:
    """Digest of one row.

    Args:
        ids: Token ids of each segment, in order.
    """
    ends = np.cumsum([len(segment) for segment in ids]).astype("<u4")
    tokens = np.concatenate([np.asarray(segment) for segment in ids]).astype("<u4")
    return hashlib.sha256(b"\x02" + tokens.tobytes() + ends.tobytes()).digest()


class StepDigest(NamedTuple):
    """The part of one step in the chain.

    Args:
        leaf: Leaf hash of the step's plan line.
        rows: Merkle root over the row digests.
    """

    leaf: bytes
    rows: bytes

    @classmethod
    def of(cls, line: bytes, row_digests: Sequence[bytes]) -> "StepDigest":
        """The digest of a step, from its line and its trained rows.

        Args:
            line: The step's line in `plan.jsonl`, with or without its line feed.
            row_digests: `row_digest` of each trained row, 32 bytes each, in the plan's order.
        """
        return cls(leaf_hash(line.removesuffix(b"\n")), merkle_root(row_digests))

    def chain(self, head: bytes) -> bytes:
        """The head after this step."""
        return chain(head, self.leaf, self.rows)


@dataclass
class AuditLog:
    """An audit log that is being written.

    Args:
        path: The file.
        plan_id: Current plan.
        head: Hash of the chain so far.
        next_step: Next expected step.
        began_with: Digests in the header by the names of `START`; None if it binds nothing.
        bindings: Binding lines so far.
    """

    path: Path
    plan_id: str
    head: bytes
    next_step: int
    began_with: JSON | None = None
    bindings: list[Entry] = field(default_factory=list[Entry])

    @classmethod
    def start(cls, path: Path | str, plan_id: str, bound: JSON | None = None) -> "AuditLog":
        """Start a new log. An earlier file is replaced.

        Args:
            path: The file.
            plan_id: Plan of the run.
            bound: Digests of `settings`, `model` and `environment`, if the run binds them.
        """
        path = Path(path)
        members = {} if bound is None else {"start": {name: bound[name] for name in START}}
        line = line_of({"lazarus_audit": AUDIT_VERSION, "plan_id": plan_id, **members})
        header = parse_header(line)
        path.write_bytes(line)
        return cls(path, plan_id, header.genesis, 0, header.start)

    @classmethod
    def resume(
        cls,
        path: Path | str,
        plan_id: str,
        next_step: int,
        head: str,
        *,
        checkpoint: Binding | None = None,
        goes_on_with: str | None = None,
    ) -> "AuditLog":
        """Continue a log after `next_step` steps. The chain must have the head `head` there.

        Binding lines that follow are kept. Later step lines (of a run that was killed after its last checkpoint) move to
        `<name>.rewound`, with a line that records where they were cut off. So a fork stays visible, and the log equals
        that of an uninterrupted run.

        Args:
            path: The file.
            plan_id: Plan of the run so far.
            next_step: Number of completed steps.
            head: Head of the chain after them.
            checkpoint: Binding of the checkpoint. Its line must come next; it is added if a kill cut it off.
            goes_on_with: Plan of the following steps; None for `plan_id`.

        Raises:
            CorruptPlan: The log does not reach `head`, or binds another checkpoint there.
            StalePlan: The log is of another plan.
        """
        path = Path(path)
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        if not lines:
            raise CorruptPlan(f"{path} is missing or empty: the checkpoint has no audit log", "LP-E174")
        header = _header(lines[0], path)
        if header.version != AUDIT_VERSION:
            raise StalePlan(
                f"{path} has audit format {header.version}, which binds no weights: start a new run", "LP-E161"
            )
        log = cls(path, header.plan_id, header.genesis, 0, header.start)
        kept = 1 + log._replay(lines[1:], next_step, head)
        if log.plan_id != plan_id:
            raise StalePlan(f"{path} is not the audit log of plan {short(plan_id)}", "LP-E172")
        if checkpoint is None or log._is_bound_next(checkpoint, lines[kept:]):
            kept += log._keep_bindings(lines[kept:], goes_on_with or plan_id)
        log._cut(lines, kept)
        if checkpoint is not None:
            log.bind(checkpoint)
        return log

    def append(self, step: int, digest: StepDigest) -> None:
        """Append the line of a completed step.

        Args:
            step: Step number, 0-based. It must equal `next_step`.
            digest: Digest of the step's line and of its trained rows.
        """
        assert step == self.next_step, f"step {step} after {self.next_step - 1}"
        self._add(Entry(step, None, digest.leaf, digest.rows, digest.chain(self.head)))
        self.next_step += 1

    def bind(self, binding: Binding) -> None:
        """Append a binding line, unless the chain already binds the same at this step.

        After further steps, a folder is bound again even if its content is unchanged.
        """
        last, is_folder = self.last(binding.kind), binding.kind in ("checkpoint", "final")
        if last is not None and last.binds(binding) and (last.step == self.next_step or not is_folder):
            return
        if last is None and self.began_with is not None and self.began_with.get(binding.kind) == binding.digest:
            return
        head = chain(self.head, binding.leaf, binding.rows, binding.kind)
        entry = Entry(self.next_step, binding.kind, binding.leaf, binding.rows, head, binding.plan)
        self._add(entry)
        self._note(entry)

    def last(self, kind: Kind) -> Entry | None:
        """The last binding line of this kind, or None."""
        return next((entry for entry in reversed(self.bindings) if entry.kind == kind), None)

    def _add(self, entry: Entry) -> None:
        with self.path.open("ab") as log:
            log.write(entry_line(entry))
        self.head = entry.head

    def _note(self, entry: Entry) -> None:
        self.bindings.append(entry)
        if entry.kind == "plan":
            self.plan_id = bound_plan_id(entry)

    def _replay(self, lines: Sequence[bytes], next_step: int, head: str) -> int:
        """Follow the chain to `head` after `next_step` steps, and return the number of lines up to there."""
        for number, line in enumerate(lines, 2):
            if self.next_step == next_step and self.head.hex() == head:
                return number - 2
            if self.next_step > next_step:
                break
            self._follow(line, number)
        if self.next_step != next_step or self.head.hex() != head:
            raise CorruptPlan(f"{self.path} does not reach the checkpoint's step {next_step}", "LP-E174")
        return len(lines)

    def _is_bound_next(self, checkpoint: Binding, lines: Sequence[bytes]) -> bool:
        """Whether the next line binds a checkpoint. A kill may have cut it off.

        Raises:
            CorruptPlan: It binds another checkpoint.
        """
        try:
            entry = parse_entry(lines[0], 2) if lines else None
        except CorruptPlan:
            return False
        if entry is None or entry.kind != checkpoint.kind:
            return False
        if not entry.binds(checkpoint) or entry.step != self.next_step:
            raise CorruptPlan(
                f"{self.path} binds another checkpoint after {self.next_step} steps: this one was changed since",
                "LP-E176",
            )
        return True

    def _cut(self, lines: Sequence[bytes], kept: int) -> None:
        """Move the lines after the kept ones to the `.rewound` file."""
        beyond = b"".join(lines[kept:])
        if not beyond:
            return
        fork = line_of({"rewound_to": self.next_step, "head": self.head.hex()})
        with self.path.with_name(self.path.name + REWOUND).open("ab") as forks:
            forks.write(fork + beyond + (b"" if beyond.endswith(b"\n") else b"\n"))
        with whole_file(self.path) as log:
            log.writelines(lines[:kept])

    def _keep_bindings(self, lines: Sequence[bytes], plan_id: str) -> int:
        """Follow the next binding lines, up to one that binds a plan other than the one the run continues with."""
        for kept, line in enumerate(lines):
            try:
                entry = parse_entry(line, kept)
            except CorruptPlan:
                return kept  # what a kill cut off
            is_other_plan = entry.kind == "plan" and bound_plan_id(entry) != plan_id
            if entry.kind is None or entry.chained(self.head) != entry.head or is_other_plan:
                return kept
            self.head = entry.head
            self._note(entry)
        return len(lines)

    def _follow(self, line: bytes, number: int) -> None:
        try:
            entry = parse_entry(line, number)
        except CorruptPlan as error:
            raise CorruptPlan(f"{self.path}: {error.message}", "LP-E174") from error
        if entry.step != self.next_step or entry.chained(self.head) != entry.head:
            raise CorruptPlan(f"{self.path}:{number}: the chain is broken at step {self.next_step}", "LP-E174")
        self.head = entry.head
        if entry.kind is None:
            self.next_step += 1
        else:
            self._note(entry)


def read_log(path: Path | str) -> tuple[Header, Iterator[Entry]]:
    """Read the lines of a log one by one.

    Raises:
        PlanError: The file does not exist.
        CorruptPlan: A line does not belong to a log; raised when the line is reached.
        FormatError: A newer version wrote it.
    """
    path = Path(path)
    if not path.is_file():
        found = absent_or(path, "is not a file")
        raise PlanError(f"{found}: give the audit.jsonl that a run writes into its folder", "LP-E009")
    lines = _lines(path)
    return parse_header(next(lines, b"\n")), (parse_entry(line, number) for number, line in enumerate(lines, 2))


def data_head(plan_id: str, entries: Iterable[Entry]) -> str:
    """Head of the chain over the step lines alone. It depends only on the plan and the trained rows.

    Args:
        plan_id: Identity of the plan, `sha256:` and 64 hexadecimal digits.
        entries: Lines of the log, in order. Binding lines are skipped.

    Returns:
        64 hexadecimal digits.
    """
    head = data_genesis(plan_id)
    for entry in entries:
        if entry.kind is None:
            head = entry.chained(head)
    return head.hex()


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as log:
        while line := log.readline(MAX_LINE + 1):
            yield line


def _header(line: bytes, path: Path) -> Header:
    try:
        return parse_header(line)
    except CorruptPlan as error:
        raise CorruptPlan(f"{path}: {error.message}", error.code) from error
