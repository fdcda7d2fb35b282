"""The audit log: what a run really trained on, one chained line a step. The same bytes for every world size.

```
{"lazarus_audit":1,"plan_id":"sha256:.."}
{"step":0,"leaf":"..","rows":"..","head":".."}
```
- row digest = SHA-256(0x02 || token ids as u32 LE || segment ends as u32 LE), over the row's real tokens
- `rows` = Merkle root of the step's row digests, in the plan's row order
- `leaf` = the RFC 6962 leaf hash of the step's line in `plan.jsonl`
- `head` = SHA-256(previous head || leaf || rows); the first previous head is the 32 bytes of plan_id
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.canonical import JSON
from lazarus_plan.errors import CorruptPlan, StalePlan
from lazarus_plan.fingerprint import short
from lazarus_plan.merkle import leaf_hash, merkle_root
from lazarus_plan.whole import whole_file

AUDIT_VERSION = 1


def row_digest(ids: Sequence[NDArray[np.integer]]) -> bytes:
    """Digest of one row.

    Args:
        ids: Token ids of each segment, in the row's order.
    """
    ends = np.cumsum([len(segment) for segment in ids]).astype("<u4")
    tokens = np.concatenate([np.asarray(segment) for segment in ids]).astype("<u4")
    return hashlib.sha256(b"\x02" + tokens.tobytes() + ends.tobytes()).digest()


class StepDigest(NamedTuple):
    """What one step contributes to the chain.

    Args:
        leaf: Leaf hash of the step's plan line.
        rows: Merkle root over the row digests.
    """

    leaf: bytes
    rows: bytes

    @classmethod
    def of(cls, line: bytes, row_digests: Sequence[bytes]) -> "StepDigest":
        """From the plan's line (without or with its LF) and the digests of the rows that were trained on."""
        return cls(leaf_hash(line.removesuffix(b"\n")), merkle_root(row_digests))

    def chain(self, head: bytes) -> bytes:
        """The head after this step."""
        return hashlib.sha256(head + self.leaf + self.rows).digest()


@dataclass
class AuditLog:
    """An audit log that is being written.

    Args:
        path: The file.
        head: Hash of the chain so far.
        next_step: The step that must come next.
    """

    path: Path
    head: bytes
    next_step: int

    @classmethod
    def start(cls, path: Path | str, plan_id: str, first_step: int = 0) -> "AuditLog":
        """Begins a log; what stood there is replaced.

        Args:
            path: The file.
            plan_id: What the run follows.
            first_step: Where it begins; above 0 only for a plan that was rebased.
        """
        path = Path(path)
        start = {"first_step": first_step} if first_step else {}
        path.write_bytes(line_of({"lazarus_audit": AUDIT_VERSION, "plan_id": plan_id, **start}))
        return cls(path, genesis(plan_id), first_step)

    @classmethod
    def resume(cls, path: Path | str, plan_id: str, next_step: int, head: str) -> "AuditLog":
        """Goes on after `next_step` steps, where the chain must have come to `head`.

        Lines beyond that point (a run that was killed after its last checkpoint) move to `<name>.rewound`, with a line
        that says where they were cut off: a fork stays visible, and the log is that of an uninterrupted run.

        Raises:
            CorruptPlan: The log does not reach `head`.
            StalePlan: The log is of another plan.
        """
        path = Path(path)
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        header = parse(lines[0]) if lines else {}
        first = header.get("first_step", 0)
        log = cls(path, genesis(plan_id), first)
        if header.get("plan_id") != plan_id:
            raise StalePlan(f"{path} is not the audit log of plan {short(plan_id)}", "LP-E172")
        kept, beyond = lines[: next_step - first + 1], lines[next_step - first + 1 :]
        for step, raw in enumerate(kept[1:], first):
            entry = parse(raw)
            log.head, log.next_step = entry_digest(entry).chain(log.head), step + 1
            if entry.get("step") != step or entry.get("head") != log.head.hex():
                raise CorruptPlan(f"{path}:{step - first + 2}: the chain is broken at step {step}", "LP-E174")
        if log.next_step != next_step or log.head.hex() != head:
            raise CorruptPlan(f"{path} does not reach the checkpoint's step {next_step}", "LP-E174")
        if beyond:
            with path.with_name(path.name + ".rewound").open("ab") as fork:
                fork.write(line_of({"rewound_to": next_step, "head": head}) + b"".join(beyond))
            with whole_file(path) as log_file:
                log_file.writelines(kept)
        return log

    def append(self, step: int, digest: StepDigest) -> None:
        """Adds a step, which must be the next one."""
        assert step == self.next_step, f"step {step} after {self.next_step - 1}"
        self.head = digest.chain(self.head)
        self.next_step += 1
        entry = {"step": step, "leaf": digest.leaf.hex(), "rows": digest.rows.hex(), "head": self.head.hex()}
        with self.path.open("ab") as log:
            log.write(line_of(entry))


def genesis(plan_id: str) -> bytes:
    """The head before the first step."""
    return bytes.fromhex(plan_id.removeprefix("sha256:"))


def line_of(members: JSON) -> bytes:
    """A line of a log."""
    return json.dumps(members, separators=(",", ":")).encode("ascii") + b"\n"


def entry_digest(entry: JSON) -> StepDigest:
    """What a line records; a damaged one gives a digest that breaks the chain."""
    try:
        return StepDigest(bytes.fromhex(entry["leaf"]), bytes.fromhex(entry["rows"]))
    except (KeyError, TypeError, ValueError):
        return StepDigest(b"", b"")


def parse(line: bytes) -> JSON:
    """The members of a line, none where it is damaged."""
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError):
        return {}
