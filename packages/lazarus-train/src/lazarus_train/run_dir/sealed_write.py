"""Writes sealed folders: a folder with a manifest of the digests of its files. A final name means a complete folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lazarus_core.atomic import whole_folder
from lazarus_train.run_dir.base_digest import model_digest as model_digest
from lazarus_train.run_dir.sealed_read import MANIFEST, Sealed, file_digest


def seal(path: Path, write_files: Callable[[Path], None]) -> Sealed:
    """Writes a folder, hashes its files, and flushes it to the disk before it takes its name.

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
    with whole_folder(path, is_durable=True) as folder:
        write_files(folder)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        digests = {file.relative_to(folder).as_posix(): file_digest(file) for file in files}
        manifest = as_json({"sha256": digests})
        (folder / MANIFEST).write_bytes(manifest)
    return Sealed(path, manifest, digests)


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
