"""One side of a review: a lock, its length caches, its plan, its data files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lazarus_core.errors import LazarusError
from lazarus_plan.checks.artifact import load_plan
from lazarus_plan.checks.documents import load_documents
from lazarus_plan.ci.base import Revision
from lazarus_plan.ci.data import DataFiles, find_data, named_files
from lazarus_plan.errors import PlanError
from lazarus_plan.format.store import DOCUMENTS, METADATA, PLAN, Artifact
from lazarus_plan.lengths.cache import LengthCache
from lazarus_plan.lengths.scan import scan
from lazarus_plan.locks.inputs import find_file
from lazarus_plan.locks.lock import rebuild
from lazarus_plan.plan import BatchPlan


@dataclass(frozen=True)
class Side:
    """One side of a review.

    Args:
        name: A git revision or a path.
        artifact: The documents; None without a lock.
        caches: The length caches; empty if they are not available.
        plan: The plan from lock and lengths; None if it could not be built.
        data: The data files of each cache.
        note: Reason why something is missing; empty if nothing is.
    """

    name: str
    artifact: Artifact | None = None
    caches: tuple[LengthCache, ...] = ()
    plan: BatchPlan | None = None
    data: tuple[DataFiles, ...] = ()
    note: str = ""


def load_base(base: Path | str, lock: Path, lengths: Sequence[Path], scratch: Path, parent: BatchPlan | None) -> Side:
    """Load the base of a review.

    Args:
        base: Folder of a lock or plan, or a git revision.
        lock: Folder of the lock under review.
        lengths: Its length caches; those of the base are searched in the same folders.
        scratch: An empty folder for files of the revision.
        parent: Parent of the base, if the base is a rebased plan and the parent is known.

    Raises:
        PlanError: `base` is neither a folder with documents nor a revision that git knows.
    """
    folder = Path(base)
    places = list(dict.fromkeys([*(path.parent for path in lengths), lock, lock.parent, Path()]))
    if (folder / METADATA).is_file():
        side = _load(str(base), folder, lambda name: find_file(name, (folder, folder.parent)), parent)
        # The lengths next to a folder may belong to another lock.
        return side if side.plan is not None else replace(side, caches=(), data=())
    if folder.is_dir():
        raise PlanError(f"{folder} is not a lock: no {METADATA} in it", "LP-E007")
    revision = Revision(str(base), lock.parent)
    copied = scratch / "lock"
    if not revision.copy(lock / METADATA, copied / METADATA):
        return Side(str(base), note=f"{base} has no lock {lock}: all of it is new")
    for name in (*DOCUMENTS, PLAN):
        revision.copy(lock / name, copied / name)

    def copy(name: str) -> Path | None:
        if not name or Path(name).name != name:
            return None
        target = scratch / "inputs" / name
        return target if target.is_file() or any(revision.copy(place / name, target) for place in places) else None

    return _load(str(base), copied, copy, parent)


def _load(name: str, lock: Path, find: Callable[[str], Path | None], parent: BatchPlan | None) -> Side:
    """Load as much of a base as possible. Its problems become a note, not a failure of the lock under review."""
    try:
        artifact = load_documents(lock)
    except LazarusError as error:
        return Side(name, note=f"the lock of {name} cannot be read: {error.message}")
    try:
        paths = [find(source.name) for source in artifact.metadata.sources]
        known = [path for path in paths if path is not None]
        if len(known) < len(paths):
            plan = load_plan(lock) if (lock / PLAN).is_file() else None
            return Side(
                name, artifact, plan=plan, note="" if plan else f"{name} has no length caches: documents compared"
            )
        caches = tuple(scan(path) for path in known)
        data = tuple(_find_data(cache, find) for cache in caches)
        if [cache.digest for cache in caches] != [source.lengths for source in artifact.metadata.sources]:
            return Side(
                name, artifact, caches, None, data, f"the lock of {name} is not that of its lengths: documents compared"
            )
        plan = load_plan(lock) if (lock / PLAN).is_file() else rebuild(artifact, caches, parent)
    except LazarusError as error:
        return Side(name, artifact, note=f"the plan of {name} cannot be built: {error.message}")
    return Side(name, artifact, caches, plan, data)


def _find_data(cache: LengthCache, find: Callable[[str], Path | None]) -> DataFiles:
    paths = [find(str(file["name"])) for file in named_files(cache)]
    known = tuple(path for path in paths if path is not None)
    return DataFiles(known) if len(known) == len(paths) else DataFiles(missing="not in the base")


def find_head_data(
    caches: Sequence[LengthCache], lengths: Sequence[Path], lock: Path, given: Sequence[Path]
) -> list[DataFiles]:
    """Find the data files of the lock under review.

    Args:
        caches: Length caches of the lock under review.
        lengths: Paths of these caches. Their folders are searched first.
        lock: Folder of the lock; its parent folder and then the working folder are searched too.
        given: Data files of all caches in order, which replace the search; empty to search.

    Returns:
        For each cache its files, or the reason why they are missing.

    Raises:
        PlanError: `given` has another number of files than the caches name, or one that does not exist (LP-E009).
    """
    folders = list(dict.fromkeys([*(path.parent for path in lengths), lock.parent, Path()]))
    return find_data(caches, given, folders)
