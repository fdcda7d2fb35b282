"""Errors for files that git changed: merge conflicts, Git LFS pointers, line ends converted to CRLF.

Each error names the way out. A merge conflict is bad input (exit 2), because the file has no definite content.
"""

from pathlib import Path

from lazarus_core.bounded import open_file
from lazarus_core.source_files import HEAD_BYTES, find_marker, has_markers, is_lfs_pointer
from lazarus_plan.errors import CorruptPlan, LengthsError, PlanError


# Calls in messages are without backquotes: long quoted values are shortened on output. The command line replaces
# the calls by commands (`cli/option_names.py`).
class ConflictError(PlanError):
    """A file contains merge-conflict markers."""


def refuse_git_damage(content: bytes, path: Path) -> None:
    """Refuse a document of a lock or plan that git changed.

    Args:
        content: Bytes of the file.
        path: Its path, for the message.

    Raises:
        ConflictError: It has merge-conflict markers.
        CorruptPlan: Its line ends are CRLF, or it is a Git LFS pointer.
    """
    if has_markers(content):
        raise lock_conflict(path)
    if b"\r\n" in content:
        raise CorruptPlan(f"{path}: {line_ends_advice(f'{path.parent}/**')}", "LP-E151")
    if is_lfs_pointer(content):
        raise CorruptPlan(f"{path} is a Git LFS pointer: run `git lfs pull` (actions/checkout: `lfs: true`)", "LP-E151")


def lock_conflict(path: Path) -> ConflictError:
    """The error for a document of a lock."""
    return ConflictError(
        f"{path} has an unresolved merge conflict. Take one side (git checkout --ours -- {path.parent}), then renew the lock from "
        f"the merged lengths: update_lock(lock={path.parent}, caches=LENGTHS)",
        "LP-E013",
    )


def plan_conflict(path: Path) -> ConflictError:
    """The error for the lines of a whole plan."""
    return ConflictError(
        f"{path} has an unresolved merge conflict. Take one side whole (git checkout --ours -- {path.parent}), then compare it with "
        f"the merged lengths: verify_plan(path={path.parent}, caches=LENGTHS, rebuild=True)",
        "LP-E013",
    )


def refuse_damaged_lengths(path: Path) -> None:
    """Refuse a length cache that git changed. It is called after reading has failed; otherwise it returns.

    Raises:
        ConflictError: It has merge-conflict markers.
        LengthsError: It is a Git LFS pointer.
    """
    with open_file(path) as stream:
        if is_lfs_pointer(stream.read(HEAD_BYTES)):
            raise LengthsError(
                f"{path} is a Git LFS pointer: run `git lfs pull` (actions/checkout: `lfs: true`)", "LP-E003"
            )
    line = find_marker(path)
    if line is None:
        return
    raise ConflictError(
        f"{path}:{line} has an unresolved merge conflict. Measure the merged data, then renew the lock: "
        f"build_lengths(paths=DATA, encoder=TOKENIZER, output={path}), then update_lock(lock=LOCK, caches={path})",
        "LP-E013",
    )


def data_conflict(path: Path, line: int, lengths: str) -> ConflictError:
    """The error for a data file with merge-conflict markers.

    Args:
        path: The data file.
        line: 1-based line of the first conflict marker.
        lengths: Name of the length cache to build again.
    """
    return ConflictError(
        f"{path}:{line} has an unresolved merge conflict. Keep the rows of both sides that you want. Measure them, then renew the lock: "
        f"build_lengths(paths={path}, encoder=TOKENIZER, output={lengths}), then "
        f"update_lock(lock=LOCK, caches={lengths})",
        "LP-E013",
    )


def line_ends_advice(pattern: str) -> str:
    """The way out where git changed line feeds to CRLF."""
    return (
        f'git changed its line ends to CRLF (core.autocrlf): add the line "{pattern} -text" to .gitattributes, then '
        "delete the file and run `git checkout` on it"
    )
