"""Check and describe a lock without the plan's lines: documents, lengths, data, identity, and a rebuild."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lazarus_core.canonical import JSON
from lazarus_plan.checks.against_data import check_files
from lazarus_plan.checks.documents import load_documents
from lazarus_plan.checks.pin import check_pin
from lazarus_plan.errors import PlanError, StalePlan
from lazarus_plan.format.fingerprint import UPSTREAM, short
from lazarus_plan.format.store import Artifact
from lazarus_plan.lengths.cache import LengthCache
from lazarus_plan.locks.lock import rebuild
from lazarus_plan.plan import BatchPlan

LINKS = (*UPSTREAM, "lengths")


def lock_summary(artifact: Artifact) -> JSON:
    """A lock as JSON. `stats` is a claim about lines that are not available."""
    metadata, prints = artifact.metadata, artifact.fingerprints
    return {
        "is_lock": True,
        "plan_id": prints["plan_id"],
        "steps": prints["plan"]["count"],
        "config": metadata.config.canonical(),
        "sources": [source.model_dump() for source in metadata.sources],
        "excluded": metadata.excluded.model_dump(),
        "parent": metadata.parent.model_dump() if metadata.parent else None,
        "fingerprints": {link: prints[link]["digest"] for link in (*LINKS, "config")},
        "stats": artifact.stats,
    }


def lock_receipt(artifact: Artifact) -> str:
    """A lock as text for people."""
    metadata, prints = artifact.metadata, artifact.fingerprints
    config = metadata.config
    lines = {
        "lock of": f"{short(prints['plan_id'])}  (seed {config.seed}); the lines of the plan are not here",
        "steps": f"{prints['plan']['count']:,} in {config.epochs} epoch{'s' if config.epochs > 1 else ''}, rows of "
        f"{config.row_len} tokens, {config.token_budget:,} tokens a step at most",
        "sources": ", ".join(f"{source.name} ({source.count:,} samples)" for source in metadata.sources),
    }
    if metadata.parent is not None:
        lines["parent"] = f"{short(metadata.parent.plan_id)}, whose first {metadata.parent.steps:,} steps stay"
    lines["made from"] = ", ".join(f"{link} {'+'.join(map(short, prints[link]['sources']))}" for link in LINKS)
    return "\n".join(f"{name:<10}{text}" for name, text in lines.items())


def verify_lock(
    path: Path,
    *,
    expect: Path | str | None = None,
    caches: Sequence[LengthCache] = (),
    data: Sequence[Path | str] = (),
    parent: BatchPlan | None = None,
    is_built: bool = False,
) -> Iterator[str]:
    """Check a lock against the given inputs, and yield lines that say what was recomputed.

    Args:
        path: Folder of the lock.
        expect: The pinned `plan_id`, or the folder of a lock.
        caches: Length caches, one for each source.
        data: Data files, compared byte by byte.
        parent: For a rebased plan, the plan that it continues.
        is_built: Rebuild the plan from `caches` and compare.

    Raises:
        CheckFailed: The first difference.
        PlanError: An input cannot be used.
    """
    artifact = load_documents(path)
    identity = str(artifact.fingerprints["plan_id"])
    yield f"lock: its documents agree, {artifact.fingerprints['plan']['count']:,} steps; the lines are not here"
    if expect is None:
        yield f"identity: {identity}, not pinned: a lock that was edited and fingerprinted again would pass"
    else:
        check_pin(identity, expect, str(path))
        yield f"identity: {identity}, the pinned plan"
    if data:
        check_files(artifact, data)
        yield f"data: SHA-256 of {len(data)} file{'s' if len(data) > 1 else ''} recomputed, as planned"
    else:
        yield "data: not compared with any file"
    yield _check_caches(artifact, caches)
    if is_built:
        rebuild(artifact, caches, parent)
        yield "rebuild: the plan of the lock, to the byte"
    elif caches:
        yield "plan: not built again: set `rebuild`, or call `review_lock`"


def _check_caches(artifact: Artifact, caches: Sequence[LengthCache]) -> str:
    """Check that the digests of length caches are those in the lock."""
    if not caches:
        return "lengths: not compared with any length cache"
    sources = artifact.metadata.sources
    if len(caches) != len(sources):
        raise PlanError(f"{len(caches)} length caches for the {len(sources)} sources of the lock", "LP-E133")
    for source, cache in zip(sources, caches, strict=True):
        if cache.digest != source.lengths:
            raise StalePlan(
                f"lengths: {cache.name} is {short(cache.digest)}, the lock was made from {short(source.lengths)}: renew the "
                "lock with `update_lock`, or restore the lengths",
                "LP-E146" if len(cache) == source.count else "LP-E141",
            )
    return f"lengths: digests of {len(caches)} length cache{'s' if len(caches) > 1 else ''} recomputed, as planned"
