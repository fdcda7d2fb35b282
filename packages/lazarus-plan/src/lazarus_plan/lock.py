"""The thin lock: three documents of a few KB that people commit, from which the plan is built again when needed."""

from collections.abc import Sequence
from pathlib import Path

from lazarus_plan.build import build_plan
from lazarus_plan.diff import CHAIN
from lazarus_plan.documents import load_documents
from lazarus_plan.errors import OutputTaken, PlanError, StalePlan
from lazarus_plan.fingerprint import short
from lazarus_plan.lengths import LengthCache
from lazarus_plan.plan import BatchPlan
from lazarus_plan.store import DOCUMENTS, METADATA, PLAN, check_same_id, holds_plan, stated_id
from lazarus_plan.validation import load_plan
from lazarus_plan.whole import filled_folder


def write_lock(plan: Path | str, output: Path | str, *, force: bool = True) -> None:
    """Copy the documents of a plan into a folder of their own, after every check that the plan alone allows.

    Other files in that folder stay.

    Args:
        plan: Folder of the plan.
        output: Folder for the lock.
        force: Replace the lock of another plan.

    Raises:
        PlanError: `plan` is no plan.
        CorruptPlan: The plan contradicts itself.
        OutputTaken: `output` is a plan, holds documents of something else, or the lock of another plan.
    """
    plan, output = Path(plan), Path(output)
    load_plan(plan)
    if output.exists() and not output.is_dir():
        raise OutputTaken(f"{output} is a file: give the name of a folder for the lock", "LP-E007")
    if (output / PLAN).exists():
        raise OutputTaken(f"{output} is a whole plan: choose another folder for its lock", "LP-E007")
    for name in DOCUMENTS:
        if (output / name).is_symlink():
            raise OutputTaken(f"{output / name} is a link: choose another folder for the lock", "LP-E007")
    if any((output / name).exists() for name in DOCUMENTS):
        if not holds_plan(output):
            raise OutputTaken(f"{output} holds documents that are not a lock's: choose another folder", "LP-E007")
        check_same_id(output, stated_id(plan), force=force)
    with filled_folder(output, last=(METADATA,)) as folder:
        for name in DOCUMENTS:
            (folder / name).write_bytes((plan / name).read_bytes())


def materialise(
    lock: Path | str, caches: Sequence[LengthCache], output: Path | str | None = None, *, force: bool = True
) -> BatchPlan:
    """Builds the plan of a lock again.

    Args:
        lock: Folder with the documents; a whole plan will do.
        caches: The length caches, in the order of the sources.
        output: Where to write what comes out, also where it is another plan.
        force: Replace another plan that is at `output`.

    Raises:
        StalePlan: What comes out is not the locked plan; the message names the first link that differs.
        CorruptPlan: The lock was edited.
    """
    artifact = load_documents(lock)
    if artifact.metadata.parent is not None:
        raise PlanError(
            f"{lock} was made by `rebase`: its first {artifact.metadata.parent.steps} steps are those of plan "
            f"{short(artifact.metadata.parent.plan_id)}, which lengths alone do not give; keep plan.jsonl",
            "LP-E134",
        )
    plan = build_plan(caches, artifact.metadata.config, output, force=force)
    check_same(plan, artifact.fingerprints)
    return plan


def check_same(plan: BatchPlan, expected: dict[str, object]) -> None:
    """Refuses a plan that is not the one of these fingerprints.

    Raises:
        StalePlan: Names the first link that differs.
    """
    if plan.plan_id == expected["plan_id"]:
        return
    changed = [link for link in CHAIN if plan.fingerprints[link] != expected.get(link)]
    cause = {
        "plan": "lengths and configuration are the same, so plan.jsonl was edited or built by another version",
        "config": "the configuration was edited",
    }.get(changed[0] if changed else "plan", f"`{changed[0] if changed else 'plan'}` changed")
    raise StalePlan(
        f"the rebuilt plan is {short(plan.plan_id)}, not {short(str(expected['plan_id']))}: {cause}", "LP-E150"
    )
