"""The lock: three documents of a few KB to commit, from which the plan is rebuilt when needed."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from lazarus_core.atomic import filled_folder
from lazarus_core.canonical import JSON
from lazarus_core.changed_values import describe_changes
from lazarus_core.errors import OutputTaken
from lazarus_plan.build import build_plan
from lazarus_plan.checks.artifact import load_plan
from lazarus_plan.checks.diff import describe_diff, diff_locks
from lazarus_plan.checks.documents import check_documents, load_documents
from lazarus_plan.checks.pin import check_pin
from lazarus_plan.errors import PlanError, StalePlan
from lazarus_plan.format.fingerprint import short
from lazarus_plan.format.links import links_of
from lazarus_plan.format.store import (
    DOCUMENTS,
    METADATA,
    PLAN,
    Artifact,
    check_same_id,
    holds_plan,
    read_artifact,
    save_plan,
    stated_id,
    stated_links,
    write_documents,
)
from lazarus_plan.lengths.cache import LengthCache
from lazarus_plan.plan import BatchPlan
from lazarus_plan.rebase import rebase_plan


def write_lock(plan: Path | str, output: Path | str, parent: BatchPlan | None = None, *, force: bool = True) -> None:
    """Write the lock of a plan, after every check that the plan alone allows.

    Other files in the output folder stay.

    Args:
        plan: Folder of the plan.
        output: Folder for the lock.
        parent: For a rebased plan, the plan that it continues. Its lock cannot be rebuilt without it.
        force: Replace the lock of another plan.

    Raises:
        PlanError: `plan` is not a plan, or the parent of a rebased plan is missing.
        CorruptPlan: The plan contradicts itself.
        StalePlan: `parent` is not the parent.
        OutputTaken: `output` is a plan, has other documents, or the lock of another plan.
    """
    plan, output = Path(plan), Path(output)
    about = load_plan(plan).metadata.parent
    if about is not None and parent is None:
        raise PlanError(
            f"{plan} was made by `rebase_plan`: a lock of it can be built again only with its parent {short(about.plan_id)}. "
            "Give the parent's plan or lock and keep it, or commit the whole plan",
            "LP-E134",
        )
    if about is not None and parent is not None:
        check_pin(parent.plan_id, about.plan_id, "the parent that was given")
    _write(plan, output, force=force)


def _write(documents: Path, output: Path, *, force: bool) -> None:
    """Copy documents into the folder of a lock."""
    if output.exists() and not output.is_dir():
        raise OutputTaken(f"{output} is a file: give the name of a folder for the lock", "LP-E007")
    if (output / PLAN).exists():
        raise OutputTaken(f"{output} is a whole plan: choose another folder for its lock", "LP-E007")
    for name in DOCUMENTS:
        if (output / name).is_symlink():
            raise OutputTaken(f"{output / name} is a link: choose another folder for the lock", "LP-E007")
    if any((output / name).exists() for name in DOCUMENTS):
        if not holds_plan(output):
            raise OutputTaken(f"{output} has documents that are not those of a lock: choose another folder", "LP-E007")
        check_same_id(output, stated_id(documents), force=force, now=stated_links(documents))
    with filled_folder(output, last=(METADATA,)) as folder:
        for name in DOCUMENTS:
            (folder / name).write_bytes((documents / name).read_bytes())


def update_lock(
    lock: Path | str, caches: Sequence[LengthCache], parent: BatchPlan | None = None
) -> tuple[BatchPlan, list[str]]:
    """Rebuild the plan of a lock from the current lengths, and renew the lock.

    Args:
        lock: Folder of the lock. Only its configuration is used; the rest may be stale or contradictory after a merge.
        caches: The length caches, in the order of the sources.
        parent: For a rebased plan, the plan that it continues.

    Returns:
        The plan, and text lines that describe the change.

    Raises:
        PlanError: The folder is not a lock, is a whole plan, or the lengths cannot be planned with this configuration.
    """
    lock = Path(lock)
    if (lock / PLAN).exists():
        raise PlanError(f"{lock} is a whole plan, not a lock: build it again with `build_plan`", "LP-E007")
    before = read_artifact(lock)
    faults = check_documents(before)
    plan = build_locked(before, caches, parent)
    with TemporaryDirectory() as scratch:
        write_documents(Path(scratch), plan)
        after = load_documents(scratch)
        if faults:
            changes = [f"the old lock contradicted itself: {faults[0].message}"]
        else:
            changes = describe_diff(diff_locks(before, after))
        if faults or before.fingerprints["plan_id"] != plan.plan_id:
            _write(Path(scratch), lock, force=True)
    return plan, changes


def materialise(
    lock: Path | str,
    caches: Sequence[LengthCache],
    output: Path | str | None = None,
    parent: BatchPlan | None = None,
    *,
    force: bool = True,
) -> BatchPlan:
    """Rebuild the plan of a lock.

    Args:
        lock: Folder with the documents; a whole plan is accepted.
        caches: The length caches, in the order of the sources.
        output: Folder for the result, which is written even if it is another plan.
        parent: For a rebased plan, the plan that it continues.
        force: Replace another plan at `output`.

    Raises:
        StalePlan: The result is not the locked plan; the message names the first different link.
        CorruptPlan: The lock was edited.
        PlanError: The parent of a rebased plan is missing.
    """
    return rebuild(load_documents(lock), caches, parent, output, force=force)


def rebuild(
    artifact: Artifact,
    caches: Sequence[LengthCache],
    parent: BatchPlan | None = None,
    output: Path | str | None = None,
    *,
    force: bool = True,
) -> BatchPlan:
    """Rebuild the plan of checked documents, and compare it with them.

    Args:
        artifact: Documents of the lock, from `load_documents`.
        caches: The length caches, in the order of the sources.
        parent: For a rebased plan, the plan that it continues.
        output: Folder for the result, which is written even if it is another plan; None writes nothing.
        force: Replace another plan at `output`.

    Raises:
        StalePlan: The result is not the locked plan; the message names the first different link (LP-E150).
        PlanError: The lengths cannot be planned, or the parent of a rebased plan is missing.
    """
    plan = build_locked(artifact, caches, parent, output, force=force)
    check_same(plan, artifact.fingerprints)
    return plan


def build_locked(
    artifact: Artifact,
    caches: Sequence[LengthCache],
    parent: BatchPlan | None = None,
    output: Path | str | None = None,
    *,
    force: bool = True,
) -> BatchPlan:
    """Build the plan from the configuration of a lock and length caches, whether or not it is the locked plan.

    Args:
        artifact: Documents of the lock.
        caches: The length caches, in the order of the sources.
        parent: For a rebased plan, the plan that it continues.
        output: Folder for the result, or None.
        force: Replace another plan at `output`.

    Raises:
        PlanError: The lengths cannot be planned with this configuration, or the parent of a rebased plan is missing.
        StalePlan: `parent` is another plan, or a sample of its kept steps changed.
    """
    metadata = artifact.metadata
    if len(caches) != len(metadata.sources):
        raise PlanError(
            f"{len(caches)} length caches for the {len(metadata.sources)} sources of {artifact.path}", "LP-E133"
        )
    if metadata.parent is None:
        return build_plan(caches, metadata.config, output, force=force)
    if parent is None:
        raise PlanError(
            f"{artifact.path} was made by `rebase_plan`: its first {metadata.parent.steps} steps are those of plan "
            f"{short(metadata.parent.plan_id)}, which lengths alone do not give: give the parent's plan or lock too",
            "LP-E134",
        )
    check_pin(parent.plan_id, metadata.parent.plan_id, "the parent that was given")
    plan = rebase_plan(parent, metadata.parent.steps, caches, metadata.config)
    if output is not None:
        save_plan(plan, output, force=force)
    return plan


def _config(chain: JSON) -> object:
    """The digest of the configuration, or None if it is missing."""
    members: object = chain.get("config")
    return cast("JSON", members).get("digest") if isinstance(members, dict) else None


def check_same(plan: BatchPlan, expected: JSON) -> None:
    """Refuse a rebuilt plan that differs from the expected one.

    Args:
        plan: The rebuilt plan.
        expected: Content of the expected plan's `fingerprints.json`.

    Raises:
        StalePlan: The plan differs; the message names the first different link.
    """
    if plan.plan_id == expected["plan_id"]:
        return
    before, now = ({**links_of({}, chain), "config": _config(chain)} for chain in (expected, plan.fingerprints))
    cause = describe_changes(before, now) or (
        "lengths and configuration are the same, so plan.jsonl was edited or built by another version"
    )
    raise StalePlan(
        f"the rebuilt plan is {short(plan.plan_id)}, not {short(str(expected['plan_id']))}: {cause}", "LP-E150"
    )
