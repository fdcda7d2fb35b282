"""Proof that one step belongs to a plan, for those who have only the `plan_id`: 32 bytes a level of the tree.

A proof holds the step's line, the path of its leaf to the Merkle root, and the rest of what `plan_id` is made of.
"""

from itertools import chain
from pathlib import Path
from typing import Any

from lazarus_plan.canonical import JSON, canonical_digest
from lazarus_plan.errors import CorruptPlan, PlanError, StalePlan
from lazarus_plan.fingerprint import short
from lazarus_plan.line import decode_line
from lazarus_plan.merkle import leaf_hash, merkle_path, root_of_path
from lazarus_plan.outputs import OutputKind, begins_with
from lazarus_plan.store import read_artifact, read_blocks

PROOF_VERSION = 1
PROOF = OutputKind("a proof", begins_with(r'\{\s*"lazarus_proof":'))


def prove(path: Path | str, step: int) -> JSON:
    """The proof of one step.

    Args:
        path: Folder of the plan.
        step: Which one.

    Raises:
        PlanError: There is no such step.
    """
    path = Path(path)
    artifact = read_artifact(path)
    lines = list(chain.from_iterable(block.splitlines() for block in read_blocks(path)))
    if not 0 <= step < len(lines):
        raise PlanError(f"step {step} is outside 0..{len(lines) - 1}", "LP-E008")
    return {
        "lazarus_proof": PROOF_VERSION,
        "plan_id": artifact.fingerprints["plan_id"],
        "step": step,
        "line": lines[step].decode("ascii", "replace"),
        "path": [node.hex() for node in merkle_path([leaf_hash(line) for line in lines], step)],
        "config": artifact.metadata.config.canonical(),
        "lengths": artifact.fingerprints["lengths"]["digest"],
        "merkle_root": artifact.fingerprints["merkle_root"],
        "steps": len(lines),
    }


def check_proof(proof: JSON, expect: str | None = None) -> str:
    """Recomputes root and identity from a proof alone.

    Args:
        proof: From `prove`.
        expect: The `plan_id` that is known to be right, or its first 16 or more hexadecimal digits.

    Returns:
        The `plan_id` of the plan that the step belongs to.

    Raises:
        CorruptPlan: The proof contradicts itself.
        StalePlan: It is the proof of another plan.
    """
    try:
        identity, root = _recompute(proof)
    except (KeyError, TypeError, ValueError, AttributeError, PlanError) as error:
        raise CorruptPlan(f"not a proof: {error}", "LP-E152") from error
    if root != proof["merkle_root"] or identity != proof["plan_id"]:
        raise CorruptPlan("the proof does not lead to its own plan_id: the step or the path was changed", "LP-E152")
    if expect is not None and not is_plan_id(identity, expect):
        raise StalePlan(f"the proof is of plan {short(identity)}, not of {short(expect)}", "LP-E150")
    return identity


def is_plan_id(identity: str, expect: str) -> bool:
    """Whether `expect` is this identity, whole or at least the 16 digits that people see."""
    wanted = expect.removeprefix("sha256:")
    return len(wanted) >= 16 and identity.removeprefix("sha256:").startswith(wanted)


def _recompute(proof: JSON) -> tuple[str, str]:
    line, step, steps = proof["line"].encode("ascii"), int(proof["step"]), int(proof["steps"])
    if not 0 <= step < steps or decode_line(line + b"\n", step + 1).step != step:
        raise ValueError("the line is of another step")
    path: list[Any] = proof["path"]
    root = root_of_path(leaf_hash(line), step, steps, [bytes.fromhex(node) for node in path])
    if root is None:
        raise ValueError("the path has another length than the tree is deep")
    members = {name: proof[name] for name in ("config", "lengths", "merkle_root", "steps")}
    return canonical_digest(members), root.hex()
