"""Sealed folders: written beside, hashed, handed to the disk, renamed. What has its name is whole."""

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
"""A name and the number of the process that wrote beside it."""


def seal(path: Path, write_files: Callable[[Path], None]) -> Sealed:
    """Fills a folder beside `path`, hashes what is in it, and renames it into place.

    A kill at any moment leaves what stood at `path`, or nothing there, or the new folder; never a mixture. What was
    replaced is removed only once the new folder has its name.

    Args:
        path: The folder; one that is there is replaced.
        write_files: Writes the files into the folder it is given.

    Returns:
        The folder with the manifest that was written.

    Raises:
        OSError: The disk is full or cannot be written to; names `path`.
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
    """Removes a folder that may be sealed: its name first, so that a kill leaves it whole or gone."""
    nameless = path.with_name(f".{path.name}.{os.getpid()}.old.tmp")
    path.rename(nameless)
    shutil.rmtree(nameless)


def clear_leftovers(folder: Path) -> None:
    """Removes what kills left half written, or half removed, in a folder."""
    for leftover in folder.glob(".*.tmp"):
        if not _LEFTOVER.fullmatch(leftover.name):
            continue
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def write_json(path: Path, members: dict[str, Any]) -> None:
    """Writes an object that people read too."""
    path.write_bytes(as_json(members))


def as_json(members: dict[str, Any]) -> bytes:
    """An object as people read it too."""
    return json.dumps(members, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def flush(path: Path) -> None:
    """Hands a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def naming(path: Path) -> Generator[None]:
    """Makes an error of the system say what could not be written, which a full disk does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())
