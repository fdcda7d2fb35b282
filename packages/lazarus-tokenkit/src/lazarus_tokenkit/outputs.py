"""The kinds of output files of this package, with a test for existing files of each kind."""

import json
import os
from pathlib import Path
from typing import Any

from lazarus_core.outputs import OutputKind, begins_with, check_output
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.samples.files import Paths, data_files
from lazarus_tokenkit.samples.read import as_paths

MAX_FINGERPRINT_BYTES = 1 << 22
"""A saved fingerprint has a few kilobytes. A larger file is not one and is not read."""
ENCODED_MARK = b'{"lazarus_encoded":'
"""Start of the header of a file of encoded samples: the first line of JSON Lines, a metadata value of Parquet."""
PARQUET_MAGIC = b"PAR1"
MAX_FOOTER_BYTES = 1 << 28
"""Largest Parquet footer that is searched: 256 MiB, some hundred thousand row groups."""


def _is_fingerprint(path: Path) -> bool:
    if path.stat().st_size > MAX_FINGERPRINT_BYTES:
        return False
    try:
        members: Any = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    match members:
        case {"version": int(), "components": dict(), "special_ids": dict(), "library": str()}:
            return True
        case _:
            return False


def _is_encoded(path: Path) -> bool:
    """Recognizes JSON Lines by the first line and Parquet by the metadata in its footer, without pyarrow."""
    with path.open("rb") as stream:
        head = stream.read(len(ENCODED_MARK))
        if not head.startswith(PARQUET_MAGIC):
            return head == ENCODED_MARK
        end = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, end - 8))
        size = int.from_bytes(stream.read(4), "little")
        if stream.read() != PARQUET_MAGIC or size > min(end, MAX_FOOTER_BYTES):
            return False
        stream.seek(max(0, end - 8 - size))
        return ENCODED_MARK in stream.read(size)


def refuse_output(output: Path, paths: Paths, kind: OutputKind, force: bool) -> None:
    """Refuses an output that would replace a data file or a file of another kind, or lie in a data directory.

    Args:
        output: The file to write.
        paths: The data files.
        kind: Kind of the output.
        force: Whether to replace a file of another kind.

    Raises:
        SampleError: `output` is a data file, is inside the data, or is a directory.
        OutputTaken: `output` exists and is of another kind.
    """
    if output.is_dir():
        raise SampleError(f"{output} is a directory: name a file for {kind.name}", "LT-E315")
    for path in as_paths(paths):
        is_same = output.exists() and any(output.samefile(file) for file in data_files(path) if file.exists())
        is_inside = path.is_dir() and output.resolve().is_relative_to(path.resolve())
        if is_same or is_inside:
            raise SampleError(
                f"{output} {'is the data file' if is_same else 'is inside the data directory'} {path}: "
                f"choose another file for {kind.name}",
                "LT-E315",
            )
    check_output(output, kind, inputs=as_paths(paths), force=force)


LENGTHS = OutputKind("a length cache", begins_with(r'\{"lazarus_lengths":'), "LT-E503")
FINGERPRINT = OutputKind("a saved fingerprint", _is_fingerprint, "LT-E503")
ENCODED = OutputKind("a file of encoded samples", _is_encoded, "LT-E503")
SAMPLES = OutputKind("a file of prepared samples", code="LT-E503")
