"""Check a plan against the given inputs, in the order of the chain."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lazarus_core.bounded import open_file
from lazarus_plan.build import build_plan
from lazarus_plan.checks.against_data import check_files, check_lengths, with_companions
from lazarus_plan.checks.artifact import load_plan
from lazarus_plan.checks.diff import first_difference
from lazarus_plan.checks.documents import check_prefixes, identity_of, load_documents
from lazarus_plan.checks.pin import check_pin, resolve_pin
from lazarus_plan.checks.sampled import Recipe, encode_some, parse_some
from lazarus_plan.errors import CorruptPlan, PlanError, StalePlan
from lazarus_plan.format.fingerprint import digest_lines, plan_id, short
from lazarus_plan.format.store import Artifact, is_lock, read_blocks
from lazarus_plan.lengths.cache import LengthCache
from lazarus_plan.locks.checks import verify_lock
from lazarus_plan.locks.inputs import load_parent
from lazarus_plan.locks.lock import check_same
from lazarus_plan.plan import BatchPlan, Step
from lazarus_plan.rebase import rebuild_child

_ENCODED_STEPS = 1000
"""Steps of which a sample is encoded again, if their number is not given: seconds for most tokenizers."""


def verify_plan(
    path: Path | str,
    *,
    expect: Path | str | None = None,
    caches: Sequence[LengthCache] = (),
    data: Sequence[Path | str] = (),
    parent: Path | str | None = None,
    rebuild: bool = False,
    sample: int | None = None,
    recipe: Recipe | None = None,
) -> Iterator[str]:
    """Check a plan against the given inputs, and yield lines that say what was recomputed.

    Args:
        path: Folder of the plan, or of its lock.
        expect: The pinned `plan_id`, whole or its first 16 or more digits, or the folder of a lock.
        caches: Freshly measured lengths, one per source.
        data: Data files, compared byte by byte.
        parent: Folder of the parent of a rebased plan, or of the parent's lock.
        rebuild: Rebuild from `caches` and compare.
        sample: Parse only this many steps; all bytes are hashed nevertheless.
        recipe: Encode one sample of each of `sample` steps again; without `sample`, of up to 1,000 steps of the whole plan.

    Raises:
        CheckFailed: The first broken link.
        PlanError: No input is given, or an input cannot be read.
    """
    if not (expect or caches or data or parent or rebuild or sample):
        raise PlanError(
            "`verify_plan` has nothing to compare the plan with: give a plan_id, lengths, data or a parent; `validate` "
            "checks a plan by itself",
            "LP-E009",
        )
    path = Path(path)
    if expect is not None:
        resolve_pin(expect)  # a pin that cannot be read is refused before the plan is
    for file in with_companions(data):
        open_file(file).close()  # as is a file
    if is_lock(path):
        if sample is not None or recipe is not None:
            raise PlanError(
                f"{path} is a lock: it has no steps to sample; build the plan with `materialise`", "LP-E009"
            )
        known = None if parent is None else load_parent(Path(parent))
        yield from verify_lock(path, expect=expect, caches=caches, data=data, parent=known, is_built=rebuild)
        return
    if sample is not None:
        yield from _verify_bytes(path, expect, sample, data, recipe)
        return
    plan = load_plan(path)
    if plan.metadata.parent is None and parent is not None:
        raise PlanError(f"{path} has no parent: it was not made by `rebase_plan`; omit `parent`", "LP-E009")
    yield f"plan: valid, {len(plan):,} steps"
    yield _check_identity(plan.plan_id, expect)
    if plan.metadata.parent is not None:
        yield _check_parent(plan, parent)
    yield _check_data(plan, data)
    if recipe is not None:
        places = np.unique(np.linspace(0, len(plan) - 1, min(len(plan), _ENCODED_STEPS)).round().astype(int)).tolist()
        yield _encoded_again(path, plan, [plan.step(place) for place in places], recipe)
    yield from _check_caches(plan, caches)
    if rebuild:
        check_same(_rebuild(plan, caches), plan.fingerprints)
        yield "rebuild: the same plan, to the byte"


def _verify_bytes(
    path: Path, expect: Path | str | None, sample: int, data: Sequence[Path | str], recipe: Recipe | None
) -> Iterator[str]:
    """Hash all bytes, which proves the identity, and parse some steps, which finds damage from before the build."""
    artifact = load_documents(path)
    sha, root, steps = digest_lines(read_blocks(path))
    identity = identity_of(artifact) | {"merkle_root": root, "steps": steps}
    found = plan_id(identity)
    if (sha, found) != (artifact.fingerprints["plan_sha256"], artifact.fingerprints["plan_id"]):
        raise CorruptPlan(f"{path}: the files are of plan {short(found)}, not of the one they name", "LP-E151")
    for finding in check_prefixes(artifact):
        raise CorruptPlan(f"{path}: {finding.message}", finding.code)
    yield f"bytes: all hashed, they are those of plan {short(found)}"
    yield _check_identity(found, expect)
    yield _check_data(artifact, data)
    parsed = parse_some(path, sample)
    yield f"steps: {len(parsed):,} of {steps:,} parsed"
    if recipe is not None:
        yield _encoded_again(path, artifact, parsed, recipe)


def _encoded_again(path: Path, artifact: Artifact | BatchPlan, steps: Sequence[Step], recipe: Recipe) -> str:
    known = "lengths" if artifact.prefixes is None else "lengths and the first 32 bits of rows and token ids"
    return f"samples: {encode_some(path, steps, recipe):,} encoded again, {known} as planned"


def _check_identity(identity: str, expect: Path | str | None) -> str:
    if expect is None:
        return f"identity: {identity}, not pinned: a plan that was edited and fingerprinted again would pass"
    check_pin(identity, expect)
    return f"identity: {identity}, the pinned plan"


def _check_parent(plan: BatchPlan, path: Path | str | None) -> str:
    """Check that the parent of a rebased plan is the one in its metadata and has the same first steps."""
    parent = plan.metadata.parent
    assert parent is not None, "asked for rebased plans only"
    if path is None:
        return f"parent: {parent.plan_id}, not recomputed: give the parent's folder"
    artifact = load_documents(path)
    if artifact.fingerprints["plan_id"] != parent.plan_id:
        raise StalePlan(
            f"{path} is plan {short(artifact.fingerprints['plan_id'])}, the parent is {short(parent.plan_id)}",
            "LP-E150",
        )
    if first_difference(plan, load_plan(path), parent.steps) is not None:
        raise StalePlan(f"the first {parent.steps} steps are not those of {path}", "LP-E150")
    return f"parent: {parent.plan_id}, recomputed; its first {parent.steps} steps are the same"


def _check_data(plan: BatchPlan | Artifact, data: Sequence[Path | str]) -> str:
    if not data:
        return "data: not compared with any file"
    check_files(plan, data)
    return f"data: SHA-256 of {len(data)} file{'s' if len(data) > 1 else ''} recomputed, as planned"


def _check_caches(plan: BatchPlan, caches: Sequence[LengthCache]) -> Iterator[str]:
    if not caches:
        yield "lengths: not compared with any length cache"
        return
    if len(caches) != len(plan.metadata.sources):
        raise PlanError(f"{len(caches)} length caches for the plan's {len(plan.metadata.sources)} sources", "LP-E133")
    for source, cache in enumerate(caches):
        about = f"{cache.name}, " if len(caches) > 1 else ""
        yield from (f"{about}{line}" for line in check_lengths(plan, cache, source).lines())


def _rebuild(plan: BatchPlan, caches: Sequence[LengthCache]) -> BatchPlan:
    is_rebased = plan.metadata.parent is not None
    return rebuild_child(plan, caches) if is_rebased else build_plan(caches, plan.metadata.config)
