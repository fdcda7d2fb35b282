"""Compare two plans: the first changed link of the chain, the first different step, added, removed and moved samples."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from lazarus_core.canonical import JSON, changed_members
from lazarus_plan.errors import PlanError
from lazarus_plan.format.fingerprint import UPSTREAM
from lazarus_plan.format.merkle import leaf_hash
from lazarus_plan.format.step_codec import encode_lines
from lazarus_plan.format.store import Artifact
from lazarus_plan.lengths.cache import LengthCache
from lazarus_plan.lengths.changes import RowChanges, compare_rows
from lazarus_plan.plan import BLOCK_STEPS, BatchPlan, Metadata

CHAIN = (*UPSTREAM, "lengths", "config", "plan")


def diff_plans(old: BatchPlan, new: BatchPlan) -> JSON:
    """Compare two whole plans. Samples are matched by position in the length caches.

    Args:
        old: The plan to compare with.
        new: The plan whose changes are reported.

    Returns:
        `links`: the links of the chain that differ, in the chain's order; `config`: members that differ, as [old, new];
        `first_step`: the first different step, or None; `equal_steps`: `[equal, compared]`; `kept_steps`: number of steps of
        `new` with the content of a step of `old`, at any position;
        `added`, `removed`: samples that only one of the plans places; `moved`: samples in another step.
    """
    leaves = [np.fromiter(_leaves(plan), dtype="S32", count=len(plan)) for plan in (old, new)]
    common = min(map(len, leaves))
    is_equal = leaves[0][:common] == leaves[1][:common]
    differs = np.flatnonzero(~is_equal)
    first = int(differs[0]) if len(differs) else (common if len(old) != len(new) else None)
    before, after = _first_steps(old), _first_steps(new)
    size = max(len(before), len(after))
    before, after = (np.pad(each, (0, size - len(each)), constant_values=-1) for each in (before, after))
    return {
        **_documents(old.metadata, new.metadata, old.fingerprints, new.fingerprints),
        "first_step": first,
        "equal_steps": [int(is_equal.sum()), max(len(old), len(new))],
        "kept_steps": _kept_steps(old, new),
        "added": int(((before < 0) & (after >= 0)).sum()),
        "removed": int(((before >= 0) & (after < 0)).sum()),
        "moved": int(((before >= 0) & (after >= 0) & (before != after)).sum()),
    }


def diff_locks(old: Artifact, new: Artifact) -> JSON:
    """Compare the documents of two plans: as `diff_plans`, without steps and samples.

    Args:
        old: Documents that `load_documents` checked.
        new: Documents of the other plan.
    """
    return {
        **_documents(old.metadata, new.metadata, old.fingerprints, new.fingerprints),
        "steps": [old.fingerprints["plan"]["count"], new.fingerprints["plan"]["count"]],
    }


def first_difference(old: BatchPlan, new: BatchPlan, steps: int) -> int | None:
    """The first step whose line differs between two plans.

    Args:
        old: One plan.
        new: The other plan.
        steps: Number of steps to compare, from step 0 on.

    Returns:
        0-based step, below `steps`, or None if these steps are equal. A plan with fewer steps differs at its end.
    """
    if min(len(old), len(new)) < steps:
        return min(len(old), len(new))
    pairs = zip(islice(_leaves(old), steps), islice(_leaves(new), steps), strict=True)
    return next((step for step, (left, right) in enumerate(pairs) if left != right), None)


def diff_rows(old: Artifact, new: Artifact, caches: Sequence[LengthCache]) -> RowChanges:
    """Compare the rows of two plans, by id.

    Args:
        old: Documents that `load_documents` checked.
        new: The same of the other plan.
        caches: The length caches of both plans, in any order; they are assigned by their digests.

    Raises:
        PlanError: A length cache of one of the plans is missing.
    """
    known = {cache.digest: cache for cache in caches}
    for artifact in (old, new):
        for source in artifact.metadata.sources:
            if source.lengths not in known:
                raise PlanError(
                    f"none of the length caches is the {source.name} of {artifact.path}: give the caches of both plans",
                    "LP-E009",
                )
    before, after = ([known[source.lengths] for source in each.metadata.sources] for each in (old, new))
    return compare_rows(before, after)


def describe_diff(found: JSON, rows: RowChanges | None = None) -> list[str]:
    """Describe a comparison in text, one line per fact.

    Args:
        found: Result of `diff_plans` or `diff_locks`.
        rows: Result of `diff_rows`, or None without length caches.
    """
    if found["old"] == found["new"]:
        return ["the plans are the same"]
    lines = [f"first link that changed: {found['links'][0]} (all: {', '.join(found['links'])})"]
    lines += [f"config `{name}`: {old} -> {new}" for name, (old, new) in found["config"].items()]
    if rows is not None:
        lines += [f"rows: {rows.line()}", *rows.names()]
    elif "lengths" in found["links"]:
        lines.append("rows: not compared; the length caches of both plans name them")
    if "steps" in found:
        return [*lines, f"steps: {found['steps'][0]:,} -> {found['steps'][1]:,}; whole plans show which differ"]
    equal, compared = found["equal_steps"]
    if found["first_step"] is None:
        lines.append(f"schedule: all {compared:,} steps are the same")
    else:
        share = 100 * equal / compared
        lines.append(
            f"schedule: first difference at step {found['first_step']:,}; {equal:,} of {compared:,} steps are the same "
            f"({share:.1f} %), {found['kept_steps']:,} have the same samples in the same rows at any position"
        )
    lines.append(f"samples: {found['added']:,} added, {found['removed']:,} removed, {found['moved']:,} in another step")
    return lines


def _leaves(plan: BatchPlan) -> Iterator[bytes]:
    return (leaf_hash(line) for block in encode_lines(plan) for line in block.splitlines())


def _kept_steps(old: BatchPlan, new: BatchPlan) -> int:
    """Number of steps of `new` with the samples of a step of `old` at the same positions.

    Samples are matched by the prefixes of their digests if both plans have them, so that rows added before them do not
    matter; otherwise by position.
    """
    knows_content = old.prefixes is not None and new.prefixes is not None
    before = Counter(_contents(old, by_digest=knows_content))
    return (before & Counter(_contents(new, by_digest=knows_content))).total()


def _contents(plan: BatchPlan, *, by_digest: bool) -> Iterator[bytes]:
    """Digest of the content of each step, independent of its number."""
    for part in plan.blocks():
        names = plan.prefixes[part.sample] if by_digest and plan.prefixes is not None else part.sample[:, np.newaxis]
        places = np.stack([part.start, part.length, part.span_start], axis=1)
        table = np.concatenate([names.astype(np.int64), places.astype(np.int64)], axis=1)
        for begin, end, row_len in zip(part.step_splits[:-1], part.step_splits[1:], part.row_lens, strict=True):
            yield hashlib.sha256(table[begin:end].tobytes() + int(row_len).to_bytes(8, "little")).digest()


def _first_steps(plan: BatchPlan) -> NDArray[np.int32]:
    """The first step that places each sample, -1 for none, by sample id."""
    count = sum(source.count for source in plan.metadata.sources)
    first = np.full(count, -1, dtype=np.int32)
    for begin in reversed(range(0, len(plan), BLOCK_STEPS)):
        part = plan.steps(begin, min(begin + BLOCK_STEPS, len(plan)))
        step = np.repeat(np.arange(begin, begin + len(part), dtype=np.int32), np.diff(part.step_splits))
        first[part.sample[::-1]] = step[::-1]  # the last assignment stands: the first step
    return first


def _documents(old: Metadata, new: Metadata, old_prints: JSON, new_prints: JSON) -> JSON:
    """Identities, links and configuration."""
    config = old.config.canonical(), new.config.canonical()
    return {
        "old": old_prints["plan_id"],
        "new": new_prints["plan_id"],
        "links": [link for link in CHAIN if old_prints[link]["digest"] != new_prints[link]["digest"]],
        "config": {name: [config[0].get(name), config[1].get(name)] for name in changed_members(*config)},
    }
