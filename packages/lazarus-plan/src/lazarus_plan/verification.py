"""`verify`: every check of a plan against the world that can be asked for, in the order of the chain."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lazarus_plan.build import build_plan
from lazarus_plan.errors import CorruptPlan, PlanError, StalePlan
from lazarus_plan.fingerprint import digest_lines, plan_id, short
from lazarus_plan.lengths import LengthCache
from lazarus_plan.lock import check_same
from lazarus_plan.plan import BatchPlan
from lazarus_plan.proof import is_plan_id
from lazarus_plan.rebase import rebase_plan
from lazarus_plan.spot import Recipe, encode_some, parse_some
from lazarus_plan.store import read_artifact, read_blocks
from lazarus_plan.validation import load_plan
from lazarus_plan.verify import check_files, check_lengths


def verify_plan(
    path: Path | str,
    *,
    expect: str | None = None,
    caches: Sequence[LengthCache] = (),
    data: Sequence[Path | str] = (),
    rebuild: bool = False,
    sample: int | None = None,
    recipe: Recipe | None = None,
) -> Iterator[str]:
    """Checks what is asked for; yields what holds, in words.

    Args:
        path: Folder of the plan.
        expect: Its `plan_id`, whole or 16 digits and more.
        caches: Freshly measured lengths, one a source.
        data: Data files, compared byte by byte.
        rebuild: Build from `caches` again and compare.
        sample: Parse only so many steps.
        recipe: With `sample`: encode one sample of each of these steps again.

    Raises:
        CheckFailed: The first broken link.
    """
    path = Path(path)
    if sample is not None:
        yield from _verify_bytes(path, expect, sample, recipe)
        return
    plan = load_plan(path)
    yield f"plan: sound, {len(plan):,} steps"
    yield from _check_identity(plan.plan_id, expect)
    if data:
        check_files(plan, data)
        yield f"data: {len(data)} files, byte by byte"
    if caches:
        if len(caches) != len(plan.metadata.sources):
            raise PlanError(
                f"{len(caches)} length caches for the plan's {len(plan.metadata.sources)} sources", "LP-E133"
            )
        for source, cache in enumerate(caches):
            about = f"{cache.name}, " if len(caches) > 1 else ""
            yield from (f"{about}{line}" for line in check_lengths(plan, cache, source).lines())
    if rebuild:
        check_same(_rebuild(plan, caches), plan.fingerprints)
        yield "rebuild: the same plan, to the byte"


def _verify_bytes(path: Path, expect: str | None, sample: int, recipe: Recipe | None) -> Iterator[str]:
    """All bytes are hashed, so the identity is certain; some steps are parsed, so damage before the build shows too."""
    artifact = read_artifact(path)
    _, root, steps = digest_lines(read_blocks(path))
    identity = plan_id(artifact.metadata.config, artifact.fingerprints["lengths"]["digest"], root, steps)
    if identity != artifact.fingerprints["plan_id"]:
        raise CorruptPlan(f"{path}: the files are of plan {short(identity)}, not of the one they name", "LP-E151")
    yield f"bytes: all hashed, they are those of plan {short(identity)}"
    yield from _check_identity(identity, expect)
    parsed = parse_some(path, sample)
    yield f"steps: {len(parsed):,} of {steps:,} parsed"
    if recipe is not None:
        known = "lengths" if artifact.prefixes is None else "rows, lengths and token ids"
        yield f"samples: {encode_some(path, parsed, recipe):,} encoded again, {known} as planned"


def _check_identity(identity: str, expect: str | None) -> Iterator[str]:
    if expect is None:
        return
    if not is_plan_id(identity, expect):
        raise StalePlan(f"this is plan {short(identity)}, not {short(expect)}: it was edited or built anew", "LP-E150")
    yield f"identity: {identity}"


def _rebuild(plan: BatchPlan, caches: Sequence[LengthCache]) -> BatchPlan:
    config, parent = plan.metadata.config, plan.metadata.parent
    return build_plan(caches, config) if parent is None else rebase_plan(plan, parent.steps, caches, config)
