"""Writes sealed folders: to a temporary folder first, then hashed, flushed and renamed. A final name means a
complete folder.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lazarus_train.run_dir.base_digest import model_digest as model_digest
from lazarus_train.run_dir.sealed_read import MANIFEST, Sealed, file_digest

_LEFTOVER = re.compile(r"\..+\.\d+(\.old)?\.tmp")
"""Name of a temporary folder: the final name and the number of the writing process."""


def seal(path: Path, write_files: Callable[[Path], None]) -> Sealed:
    """Writes a temporary folder, hashes its files, and renames it to `path`.

    A kill at any time leaves the old folder, no folder, or the new folder at `path`, never a mixture. The old folder
    is deleted after the rename.

    Args:
        path: The folder; an existing one is replaced.
        write_files: Writes the files into the folder it is given.

    Returns:
        The folder with the manifest that was written.

    Raises:
        OSError: The disk is full or not writable; the error names `path`.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    replaced = path.with_name(f".{path.name}.{os.getpid()}.old.tmp")
    try:
        with naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir()
            write_files(beside)
            digests = {file.relative_to(beside).as_posix(): file_digest(file) for file in _files(beside)}
            manifest = as_json({"sha256": digests})
            (beside / MANIFEST).write_bytes(manifest)
            for written in [*_files(beside), beside]:
                flush(written)
            if path.exists():
                path.rename(replaced)
            beside.rename(path)
            flush(path.parent)
            return Sealed(path, manifest, digests)
    finally:
        for leftover in (beside, replaced):
            shutil.rmtree(leftover, ignore_errors=True)


def unseal(path: Path) -> None:
    """Removes a folder that may be sealed. It is renamed first, so a kill leaves it complete or gone."""
    nameless = path.with_name(f".{path.name}.{os.getpid()}.old.tmp")
    path.rename(nameless)
    shutil.rmtree(nameless)


def clear_leftovers(folder: Path) -> None:
    """Removes temporary folders of killed processes."""
    for leftover in folder.glob(".*.tmp"):
        if not _LEFTOVER.fullmatch(leftover.name):
            continue
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def write_json(path: Path, members: dict[str, Any]) -> None:
    """Writes an object as indented JSON.

    Args:
        path: The file.
        members: The object.
    """
    path.write_bytes(as_json(members))


def as_json(members: dict[str, Any]) -> bytes:
    """An object as indented JSON."""
    return json.dumps(members, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def flush(path: Path) -> None:
    """Flushes a file, or the entries of a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def naming(path: Path) -> Generator[None]:
    """Context manager: adds the path to operating-system errors, which a full disk leaves out."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())
