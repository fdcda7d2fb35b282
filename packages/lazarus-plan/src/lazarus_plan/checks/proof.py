"""Proof that a step belongs to a plan, which can be checked with the `plan_id` alone: 32 bytes per level of the tree.

A proof contains the step's line, the path from its leaf to the Merkle root, and the identity whose digest is `plan_id`.
"""

from itertools import chain
from pathlib import Path
from typing import Any, cast

from lazarus_core.canonical import JSON, MAX_INTEGER
from lazarus_core.errors import LazarusError
from lazarus_core.outputs import OutputKind, begins_with
from lazarus_plan.checks.documents import identity_of, load_documents
from lazarus_plan.checks.pin import check_pin
from lazarus_plan.errors import CorruptPlan, FormatError, PlanError
from lazarus_plan.format.fingerprint import plan_id
from lazarus_plan.format.merkle import DIGEST_BYTES, leaf_hash, merkle_path, root_of_path
from lazarus_plan.format.step_json import decode_line
from lazarus_plan.format.store import read_blocks

PROOF_VERSION = 2
PROOF = OutputKind("a proof", begins_with(r'\{\s*"lazarus_proof":'))
OWN_MEMBERS = ("lazarus_proof", "plan_id", "step", "line", "path")
"""Members of a proof in addition to those of the plan's identity."""
MAX_DEPTH = 64
"""Maximum nodes of a path; no tree of fewer than 2^53 steps is deeper."""


def prove(path: Path | str, step: int) -> JSON:
    """Create the proof of one step.

    Args:
        path: Folder of the plan.
        step: 0-based step.

    Raises:
        PlanError: The plan has no such step.
        CorruptPlan: The plan contradicts itself.
    """
    path = Path(path)
    artifact = load_documents(path)
    lines = list(chain.from_iterable(block.splitlines() for block in read_blocks(path)))
    if not 0 <= step < len(lines):
        raise PlanError(f"step {step} is outside 0..{len(lines) - 1}", "LP-E008")
    proof: JSON = {
        "lazarus_proof": PROOF_VERSION,
        "plan_id": artifact.fingerprints["plan_id"],
        "step": step,
        "line": lines[step].decode("ascii", "replace"),
        "path": [node.hex() for node in merkle_path([leaf_hash(line) for line in lines], step)],
        **identity_of(artifact),
    }
    check_proof(proof)
    return proof


def check_proof(proof: JSON, expect: Path | str | None = None) -> str:
    """Recompute root and identity from a proof alone.

    Args:
        proof: Result of `prove`.
        expect: The trusted `plan_id`, its first 16 or more hexadecimal digits, or a lock.

    Returns:
        The `plan_id` of the plan that the step belongs to.

    Raises:
        CorruptPlan: The proof contradicts itself.
        StalePlan: The proof belongs to another plan.
        FormatError: The proof has another format.
    """
    version = proof.get("lazarus_proof")
    if isinstance(version, int) and version != PROOF_VERSION:
        raise FormatError(
            f"the proof has format {version}, this lazarus-plan reads {PROOF_VERSION}: make it again with `prove`",
            "LP-E160" if version > PROOF_VERSION else "LP-E161",
        )
    try:
        identity, root = _recompute(proof)
    except (KeyError, TypeError, ValueError, AttributeError, LazarusError) as error:
        raise CorruptPlan(f"not a proof: {str(error)[:100]}", "LP-E152") from error
    if (root, identity) != (proof.get("merkle_root"), proof.get("plan_id")):
        raise CorruptPlan("the proof does not lead to its own plan_id: the step or the path was changed", "LP-E152")
    if expect is not None:
        check_pin(identity, expect, "the proof")
    return identity


def _recompute(proof: JSON) -> tuple[str, str]:
    """Recompute `plan_id` and Merkle root (hex) from a proof."""
    if type(proof["lazarus_proof"]) is not int:
        raise ValueError("`lazarus_proof` is no number")
    step, steps = proof["step"], proof["steps"]
    if type(step) is not int or type(steps) is not int or not 0 <= step < steps <= MAX_INTEGER:
        raise ValueError("the step is no number of a step")
    line, path = proof["line"].encode("ascii"), proof["path"]
    if decode_line(line + b"\n", step + 1).step != step:
        raise ValueError("the line is of another step")
    if not isinstance(path, list) or len(cast("list[Any]", path)) > MAX_DEPTH:
        raise ValueError("the path is no list of nodes")
    nodes = [_node(node) for node in cast("list[Any]", path)]
    root = root_of_path(leaf_hash(line), step, steps, nodes)
    if root is None:
        raise ValueError("the path has another length than the tree is deep")
    return plan_id({name: value for name, value in proof.items() if name not in OWN_MEMBERS}), root.hex()


def _node(text: Any) -> bytes:
    node = bytes.fromhex(text)
    if len(node) != DIGEST_BYTES or node.hex() != text:
        raise ValueError("a node of the path is no SHA-256 in lower-case hexadecimal digits")
    return node
