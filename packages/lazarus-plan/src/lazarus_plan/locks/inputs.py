"""Find the files that a lock needs for a rebuild: length caches by name, and the parent of a rebased plan."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lazarus_plan.checks.artifact import load_plan
from lazarus_plan.checks.documents import load_documents
from lazarus_plan.errors import PlanError
from lazarus_plan.format.store import PLAN, Artifact
from lazarus_plan.lengths.scan import scan
from lazarus_plan.locks.lock import rebuild
from lazarus_plan.plan import BatchPlan


def find_file(name: str, folders: Iterable[Path]) -> Path | None:
    """The first file with a name in some folders, or None.

    Args:
        name: File name without a folder. Any other name is never found, so that a lock cannot name files elsewhere.
        folders: Folders to search, in order, without their subfolders.
    """
    if not name or Path(name).name != name:
        return None
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def find_lengths(artifact: Artifact, folders: Sequence[Path]) -> list[Path]:
    """Find the length caches that a lock names.

    Args:
        artifact: Documents of the lock.
        folders: Folders to search, in order.

    Raises:
        PlanError: A length cache is in none of them.
    """
    found: list[Path] = []
    for source in artifact.metadata.sources:
        path = find_file(source.name, folders)
        if path is None:
            raise PlanError(
                f"the length cache {source.name} of {artifact.path} is not in {', '.join(map(str, folders))}: give its path",
                "LP-E001",
            )
        found.append(path)
    return found


def load_parent(path: Path, lengths: Sequence[Path] = ()) -> BatchPlan:
    """Load the parent of a rebased plan, from its plan, or rebuilt from its lock and lengths.

    Args:
        path: Folder of the parent's plan or lock.
        lengths: The parent's length caches; empty to search next to its lock.

    Raises:
        PlanError: The parent cannot be read or rebuilt.
        StalePlan: The lengths are not those of the parent.
    """
    if (path / PLAN).is_file():
        return load_plan(path)
    artifact = load_documents(path)
    return rebuild(artifact, [scan(each) for each in lengths or find_lengths(artifact, (path, path.parent))])
