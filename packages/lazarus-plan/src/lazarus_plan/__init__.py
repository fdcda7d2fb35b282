"""The lockfile for training runs: plan batches once, offline; fingerprint, verify, shard and replay them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lazarus_plan.audit import AuditLog as AuditLog
    from lazarus_plan.audit import StepDigest as StepDigest
    from lazarus_plan.audit import row_digest as row_digest
    from lazarus_plan.audit_check import check_audit as check_audit
    from lazarus_plan.build import build_plan as build_plan
    from lazarus_plan.canonical import canonical_digest as canonical_digest
    from lazarus_plan.canonical import canonical_json as canonical_json
    from lazarus_plan.canonical import digest_text as digest_text
    from lazarus_plan.codec import encode_step as encode_step
    from lazarus_plan.config import PlanConfig as PlanConfig
    from lazarus_plan.config import Stage as Stage
    from lazarus_plan.cursor import PlanCursor as PlanCursor
    from lazarus_plan.cursor import RankStep as RankStep
    from lazarus_plan.cursor import check_state as check_state
    from lazarus_plan.diff import diff_plans as diff_plans
    from lazarus_plan.errors import CheckFailed as CheckFailed
    from lazarus_plan.errors import CorruptPlan as CorruptPlan
    from lazarus_plan.errors import FormatError as FormatError
    from lazarus_plan.errors import LazarusError as LazarusError
    from lazarus_plan.errors import LengthsError as LengthsError
    from lazarus_plan.errors import PlanError as PlanError
    from lazarus_plan.errors import PlanningError as PlanningError
    from lazarus_plan.errors import StalePlan as StalePlan
    from lazarus_plan.findings import Finding as Finding
    from lazarus_plan.lengths import LengthCache as LengthCache
    from lazarus_plan.lengths import LengthRow as LengthRow
    from lazarus_plan.lengths import LengthsHeader as LengthsHeader
    from lazarus_plan.lengths import LengthsWriter as LengthsWriter
    from lazarus_plan.lock import materialise as materialise
    from lazarus_plan.memory_lengths import make_lengths as make_lengths
    from lazarus_plan.memory_lengths import save_lengths as save_lengths
    from lazarus_plan.merkle import merkle_root as merkle_root
    from lazarus_plan.plan import BatchPlan as BatchPlan
    from lazarus_plan.plan import Row as Row
    from lazarus_plan.plan import Segment as Segment
    from lazarus_plan.plan import Step as Step
    from lazarus_plan.proof import check_proof as check_proof
    from lazarus_plan.proof import prove as prove
    from lazarus_plan.reader import PlanReader as PlanReader
    from lazarus_plan.rebase import rebase_plan as rebase_plan
    from lazarus_plan.shard import assign as assign
    from lazarus_plan.sidecar import read_lengths as read_lengths
    from lazarus_plan.store import save_plan as save_plan
    from lazarus_plan.validation import load_plan as load_plan
    from lazarus_plan.validation import validate as validate
    from lazarus_plan.verification import verify_plan as verify_plan
    from lazarus_plan.verify import ChainCheck as ChainCheck
    from lazarus_plan.verify import check_files as check_files
    from lazarus_plan.verify import check_lengths as check_lengths

_HOME = {  # public name -> module that defines it, imported at first use
    "AuditLog": "audit",
    "BatchPlan": "plan",
    "ChainCheck": "verify",
    "CheckFailed": "errors",
    "CorruptPlan": "errors",
    "Finding": "findings",
    "FormatError": "errors",
    "LazarusError": "errors",
    "LengthCache": "lengths",
    "LengthRow": "lengths",
    "LengthsError": "errors",
    "LengthsHeader": "lengths",
    "LengthsWriter": "lengths",
    "PlanConfig": "config",
    "PlanCursor": "cursor",
    "PlanError": "errors",
    "PlanReader": "reader",
    "PlanningError": "errors",
    "RankStep": "cursor",
    "Row": "plan",
    "Segment": "plan",
    "Stage": "config",
    "StalePlan": "errors",
    "Step": "plan",
    "StepDigest": "audit",
    "assign": "shard",
    "build_plan": "build",
    "canonical_digest": "canonical",
    "canonical_json": "canonical",
    "check_audit": "audit_check",
    "check_files": "verify",
    "check_lengths": "verify",
    "check_proof": "proof",
    "check_state": "cursor",
    "diff_plans": "diff",
    "digest_text": "canonical",
    "encode_step": "codec",
    "load_plan": "validation",
    "make_lengths": "memory_lengths",
    "materialise": "lock",
    "merkle_root": "merkle",
    "prove": "proof",
    "read_lengths": "sidecar",
    "rebase_plan": "rebase",
    "row_digest": "audit",
    "save_lengths": "memory_lengths",
    "save_plan": "store",
    "validate": "validation",
    "verify_plan": "verification",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
