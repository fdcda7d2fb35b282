"""The audit log of a run: what each step was trained on, chained by hashes (FORMAT.md of lazarus-plan)."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lazarus_plan.exports.steps import PlanRefused, PlanSteps, canonical, leaf_hash, merkle_root, packed

Digests = dict[int, bytes]
"""Digests of rows, by the row's number in its step."""
Gather = Callable[[Digests], Sequence[Digests]]
"""From the digests of this process to those of all processes, in any order."""


class AuditLog:
    """Writes a line for each step that was trained on, for `lazarus-plan audit`.

    A log that is there goes on after `next_step` steps. Lines of later steps, which a trainer repeats after a crash, move
    to `<name>.rewound`. Every process has such an object; the first one writes.

    Args:
        path: The file.
        plan: The steps.
        next_step: Steps that were trained: 0, or those of the checkpoint that the trainer goes on from.
        gather: Brings the digests of all processes together; needed where `plan.world_size` is above 1.

    Raises:
        PlanRefused: The log is of another plan, was damaged, or ends before `next_step` (LP-E197).
    """

    def __init__(self, path: str, plan: PlanSteps, next_step: int = 0, gather: Gather | None = None) -> None:
        if plan.world_size > 1 and gather is None:
            raise PlanRefused(
                "LP-E197", "several processes train: give `gather`, which brings their row digests together"
            )
        self.path, self.plan, self.next_step, self.gather = Path(path), plan, next_step, gather
        self.is_writer = plan.rank == 0
        self.head = b""
        if self.is_writer:
            self._open()

    def consumed(self, *batches: Mapping[str, Any]) -> None:
        """Notes a step, after the optimizer's update. Every process calls it, also one without rows.

        Args:
            batches: What this process trained on: all of its micro-batches of one step, with `input_ids`, `segment_ids`,
                `row_numbers` and `step`, as lists, arrays or tensors.

        Raises:
            PlanRefused: It is not the next step, or rows of it are missing or repeated (LP-E195).
        """
        self._check_step(*{int(batch["step"]) for batch in batches})
        self.add(row_digests(*batches), self.next_step)

    def add(self, digests: Digests, step: int) -> None:
        """Notes a step by the digests of the rows that this process trained on.

        Args:
            digests: From `row_digests`.
            step: Number of the step.

        Raises:
            PlanRefused: As of `consumed`.
        """
        self._check_step(step)
        found = [digests] if self.gather is None else list(self.gather(digests))
        numbers = sorted(number for each in found for number in each)
        if numbers != list(range(self.plan.rows_of(step))):
            raise PlanRefused(
                "LP-E195",
                f"step {step} has {self.plan.rows_of(step)} rows, trained were {numbers}: each process trains on all of its "
                "micro-batches",
            )
        rows = {number: digest for each in found for number, digest in each.items()}
        if self.is_writer:
            leaf = leaf_hash(self.plan.lines[step])
            self._write({"step": step}, leaf, merkle_root(leaf_hash(rows[number]) for number in numbers))
        self.next_step += 1

    def _check_step(self, *steps: int) -> None:
        """Refuses batches of another step than the next one."""
        if self.next_step >= self.plan.steps:
            raise PlanRefused("LP-E195", f"a batch was trained after the plan's {self.plan.steps} steps: stop there")
        if steps != (self.next_step,):
            raise PlanRefused(
                "LP-E195",
                f"step {' and '.join(map(str, sorted(steps))) or 'without batches'} was trained where step {self.next_step} of "
                "the plan is next: no shuffling, skipping or repeating of batches",
            )

    def _open(self) -> None:
        """Starts the log, or continues it."""
        if not self.path.exists() or not self.path.stat().st_size:
            if self.next_step:
                raise PlanRefused(
                    "LP-E197",
                    f"{self.path} does not exist, and {self.next_step} steps were trained: bring their log here",
                )
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_bytes(_line({"lazarus_audit": 2, "plan_id": self.plan.plan_id}))
        lines = self.path.read_bytes().splitlines(keepends=True)
        followed, kept = self._follow(lines)
        if followed != self.plan.plan_id:
            self._check_parent(followed)
        self._cut(lines, kept)
        if followed != self.plan.plan_id:
            identity = self.plan.identity
            members = {"step": self.next_step, "bind": "plan", "plan": identity}
            self._write(members, leaf_hash(canonical(identity)), merkle_root(()))

    def _follow(self, lines: Sequence[bytes]) -> tuple[str, int]:
        """Follows the chain to `next_step`; returns the plan_id that it came to and how many lines that takes."""
        try:
            header = json.loads(lines[0])
            followed = str(header["plan_id"])
            is_known = header["lazarus_audit"] == 2
        except (ValueError, KeyError, TypeError):
            followed, is_known = "", False
        if not is_known:
            raise PlanRefused("LP-E197", f"{self.path} is no audit log of version 2: give another name")
        self.head = hashlib.sha256(b"\x04" + lines[0].removesuffix(b"\n")).digest()
        done = 0
        for number, line in enumerate(lines[1:], 1):
            entry = self._entry(line, number, done)
            is_of_another_plan = entry is not None and entry.get("bind") == "plan" and done == self.next_step
            if entry is None or is_of_another_plan or ("bind" not in entry and done == self.next_step):
                if done == self.next_step:
                    return followed, number
                raise PlanRefused("LP-E197", f"{self.path}: line {number + 1} breaks the chain: the log was changed")
            self.head = bytes.fromhex(entry["head"])
            if "bind" not in entry:
                done += 1
            elif entry["bind"] == "plan":
                followed = f"sha256:{hashlib.sha256(canonical(entry['plan'])).hexdigest()}"
        if done < self.next_step:
            raise PlanRefused(
                "LP-E197",
                f"{self.path} ends after {done} steps, the trainer continues after {self.next_step}: copy its log",
            )
        return followed, len(lines)

    def _entry(self, line: bytes, number: int, done: int) -> dict[str, Any] | None:
        """The members of a line that continues the chain; None where it does not."""
        try:
            entry = json.loads(line)
            leaf, rows = bytes.fromhex(entry["leaf"]), bytes.fromhex(entry["rows"])
            head = _chain(self.head, leaf, rows, entry.get("bind", ""))
            is_next = line.endswith(b"\n") and entry["head"] == head.hex() and entry["step"] == done
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return entry if is_next else None

    def _cut(self, lines: Sequence[bytes], kept: int) -> None:
        """Moves the lines after the kept ones to the file of repeated steps."""
        beyond = b"".join(lines[kept:])
        if not beyond:
            return
        fork = _line({"rewound_to": self.next_step, "head": self.head.hex()})
        with self.path.with_name(f"{self.path.name}.rewound").open("ab") as forks:
            forks.write(fork + beyond + (b"" if beyond.endswith(b"\n") else b"\n"))
        whole = self.path.with_name(f"{self.path.name}.new")
        whole.write_bytes(b"".join(lines[:kept]))
        whole.replace(self.path)

    def _check_parent(self, followed: str) -> None:
        """Refuses a plan that was not rebased from the one that the log followed, at the step where it stopped."""
        parent: dict[str, Any] = self.plan.metadata.get("parent") or {}
        if (parent.get("plan_id"), parent.get("steps")) != (followed, self.next_step):
            raise PlanRefused(
                "LP-E197",
                f"{self.path} is the log of plan {followed}, not of {self.plan.plan_id}: give another name, or move it away",
            )

    def _write(self, members: dict[str, Any], leaf: bytes, rows: bytes) -> None:
        self.head = _chain(self.head, leaf, rows, members.get("bind", ""))
        with self.path.open("ab") as log:
            log.write(_line({**members, "leaf": leaf.hex(), "rows": rows.hex(), "head": self.head.hex()}))


def row_digests(*batches: Mapping[str, Any]) -> Digests:
    """Digests of rows as they were trained on, by their numbers in the step; rows of padding alone are left out.

    A digest is SHA-256(0x02 || token ids || ends of segments), over the real tokens of the row.

    Args:
        batches: Micro-batches of one step, with `input_ids`, `segment_ids` and `row_numbers`.
    """
    digests: Digests = {}
    for batch in batches:
        rows = zip(*(_listed(batch[name]) for name in ("row_numbers", "input_ids", "segment_ids")), strict=True)
        for number, ids, segments in rows:
            if number < 0:
                continue
            if number in digests:
                raise PlanRefused("LP-E195", f"row {number} of step {int(batch['step'])} was trained twice")
            real = [(token, segment) for token, segment in zip(ids, segments, strict=True) if segment]
            last = [real[at][1] != following for at, (_, following) in enumerate(real[1:])]
            ends = [at for at, is_last in enumerate([*last, True], 1) if is_last]
            digests[number] = hashlib.sha256(b"\x02" + packed(token for token, _ in real) + packed(ends)).digest()
    return digests


def _chain(head: bytes, leaf: bytes, rows: bytes, bind: str) -> bytes:
    return hashlib.sha256(head + leaf + rows + bind.encode()).digest()


def _line(members: Mapping[str, Any]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode("ascii") + b"\n"


def _listed(values: Any) -> Any:
    """Nested lists of an array or tensor."""
    return values.tolist() if hasattr(values, "tolist") else values
