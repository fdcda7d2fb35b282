"""`lengths.npy` beside `lengths.jsonl`: the same cache as arrays, so that a second read costs nothing.

It is believed only while the text file has the size and times that it had when it was read, and while its own arrays have
the digest that it states. Of the times one is that of the last change of status, which no program can set: an edit that
keeps size and time of modification is noticed too. Deleting the sidecar loses nothing.

The file is a sequence of npy arrays: a JSON object as bytes, then the columns that it names.
"""

import hashlib
import json
import logging
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.canonical import JSON
from lazarus_plan.length_scan import scan
from lazarus_plan.lengths import LengthCache, LengthsHeader, LineIds
from lazarus_plan.plan import narrow
from lazarus_plan.whole import whole_file

logger = logging.getLogger(__name__)

SIDECAR_VERSION = 1
MIN_COUNT = 100_000
"""Samples from which a sidecar is written: below, the text is read in 0.1 s."""
HEAD_BYTES = 256
"""Of a sidecar: its first array's head and the beginning of the object that it holds."""
_COLUMNS = ("length", "loss_tokens", "token_prefix", "row_prefix")


def read_lengths(path: Path | str, *, remember: bool = False) -> LengthCache:
    """Reads a length cache: from its sidecar where that is fresh, else from its lines, with or without a header.

    Args:
        path: The file.
        remember: Write a sidecar where there is none and the cache is large.

    Raises:
        LengthsError: A missing, empty or malformed file; the message names file and line.
        FormatError: A header of a newer format.
    """
    path = Path(path)
    found = read_sidecar(path)
    if found is not None:
        return found
    stamp = _stamp(path) if path.is_file() else {}  # of before the first byte was read
    cache = scan(path)
    if remember and len(cache) >= MIN_COUNT:
        try:
            write_sidecar(cache, path, stamp)
        except OSError as error:
            logger.warning("%s: the next read is as slow as this one: %s", error.filename, error.strerror)
    return cache


def write_sidecar(cache: LengthCache, path: Path, stamp: JSON) -> None:
    """Writes the sidecar of a cache; a file of that name that is no sidecar is left alone.

    Args:
        cache: What was read from `path`.
        path: The text file.
        stamp: Its size and times before it was read.
    """
    columns = {name: getattr(cache, name) for name in _COLUMNS if getattr(cache, name) is not None}
    columns["length"] = narrow(cache.length, int(cache.length.max()))
    about = {
        "sidecar_version": SIDECAR_VERSION,
        **stamp,
        "digest": cache.digest,
        "header": {item.name: getattr(cache.header, item.name) for item in fields(LengthsHeader)},
        "offset": cache.ids.offset if isinstance(cache.ids, LineIds) else 0,
        "columns": list(columns),
        "sha256": _digest(list(columns.values())),
    }
    target = path.with_suffix(".npy")
    if target.exists() and not _is_sidecar(target):
        logger.warning("%s is no sidecar of %s: left alone", target, path)
        return
    with whole_file(target) as stream:
        np.save(stream, np.frombuffer(json.dumps(about).encode(), dtype=np.uint8))
        for column in columns.values():
            np.save(stream, column)


def read_sidecar(path: Path) -> LengthCache | None:
    """The cache of `path`, or None where there is no sidecar or it is not of this very file."""
    sidecar = path.with_suffix(".npy")
    if not sidecar.is_file() or not path.is_file():
        return None
    with sidecar.open("rb") as stream:
        try:
            about = json.loads(np.load(stream).tobytes())
            columns = {name: np.load(stream) for name in about["columns"]}
        except (ValueError, KeyError, TypeError, EOFError, OSError):
            return None
    if not _is_fresh(about, path) or _digest(list(columns.values())) != about["sha256"]:
        return None
    header = LengthsHeader(**about["header"])
    return LengthCache(
        name=path.name,
        header=header,
        digest=about["digest"],
        ids=LineIds(path, header.count, about["offset"]),
        **columns,
    )


def _is_fresh(about: Any, path: Path) -> bool:
    if not isinstance(about, dict):
        return False
    members = cast("JSON", about)
    due = {"sidecar_version": SIDECAR_VERSION, **_stamp(path)}
    return {name: members.get(name) for name in due} == due


def _is_sidecar(path: Path) -> bool:
    with path.open("rb") as stream:
        return b'{"sidecar_version"' in stream.read(HEAD_BYTES)


def _stamp(path: Path) -> JSON:
    about = path.stat()
    return {"bytes": about.st_size, "mtime_ns": about.st_mtime_ns, "ctime_ns": about.st_ctime_ns}


def _digest(columns: list[NDArray[Any]]) -> str:
    sha = hashlib.sha256()
    for column in columns:
        sha.update(np.ascontiguousarray(column).data)
    return sha.hexdigest()
