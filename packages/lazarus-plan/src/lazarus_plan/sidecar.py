"""`lengths.npy` beside `lengths.jsonl`: the same cache as arrays, so that a second read costs nothing.

It is believed only while the text file has the size and time of modification that it was made from, and while its own
arrays have the digest that it states. Deleting it loses nothing.

The file is a sequence of npy arrays: a JSON object as bytes, then the columns that it names.
"""

import hashlib
import json
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

SIDECAR_VERSION = 1
MIN_COUNT = 100_000
"""Samples from which a sidecar is written: below, the text is read in 0.1 s."""
_COLUMNS = ("length", "loss_tokens", "token_prefix", "row_prefix")


def read_lengths(path: Path | str) -> LengthCache:
    """Reads a length cache: from its sidecar where that is fresh, else from its lines, with or without a header.

    Raises:
        LengthsError: A missing, empty or malformed file; the message names file and line.
        FormatError: A header of a newer format.
    """
    path = Path(path)
    return read_sidecar(path) or scan(path)


def write_sidecar(cache: LengthCache, path: Path) -> None:
    """Writes the sidecar of a cache that was just read from `path`."""
    columns = {name: getattr(cache, name) for name in _COLUMNS if getattr(cache, name) is not None}
    columns["length"] = narrow(cache.length, int(cache.length.max()))
    about = {
        "sidecar_version": SIDECAR_VERSION,
        **_stamp(path),
        "digest": cache.digest,
        "header": {item.name: getattr(cache.header, item.name) for item in fields(LengthsHeader)},
        "offset": cache.ids.offset if isinstance(cache.ids, LineIds) else 0,
        "columns": list(columns),
        "sha256": _digest(list(columns.values())),
    }
    target = path.with_suffix(".npy")
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
    return {name: members.get(name) for name in ("sidecar_version", "bytes", "mtime_ns")} == {
        "sidecar_version": SIDECAR_VERSION,
        **_stamp(path),
    }


def _stamp(path: Path) -> JSON:
    about = path.stat()
    return {"bytes": about.st_size, "mtime_ns": about.st_mtime_ns}


def _digest(columns: list[NDArray[Any]]) -> str:
    sha = hashlib.sha256()
    for column in columns:
        sha.update(np.ascontiguousarray(column).data)
    return sha.hexdigest()
