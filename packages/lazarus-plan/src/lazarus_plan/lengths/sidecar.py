"""The sidecar `lengths.npy` of `lengths.jsonl`: the same cache as arrays, for fast repeated reads.

It is used only if the text file has the same size and times as when it was read, and if its own arrays match its digest.
One of the times is the last change of status, which no program can set, so an edit that keeps size and modification time
is noticed too. The sidecar may be deleted at any time.

The file is a sequence of npy arrays: a JSON object as bytes, then the columns that it names.
"""

import hashlib
import json
import logging
import os
from dataclasses import fields
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from lazarus_core.atomic import whole_file
from lazarus_core.canonical import JSON
from lazarus_core.strict_json import MalformedJson, parse_object
from lazarus_plan.lengths.cache import LengthCache, LengthsHeader, LineIds
from lazarus_plan.lengths.scan import scan
from lazarus_plan.plan import narrow

logger = logging.getLogger(__name__)

SIDECAR_VERSION = 1
MIN_COUNT = 100_000
"""Minimum number of samples for a sidecar. Smaller files are read in 0.1 s."""
HEAD_BYTES = 256
"""Bytes of a sidecar that identify it: the head of its first array and the start of its object."""
_COLUMNS = ("length", "loss_tokens", "token_prefix", "row_prefix")


def read_lengths(path: Path | str, *, remember: bool = False) -> LengthCache:
    """Read a length cache, from its sidecar if that is fresh.

    Args:
        path: The file, with or without a header.
        remember: Write a sidecar if there is none and the cache is large.

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
    """Write the sidecar of a cache. A file of that name that is not a sidecar stays.

    Args:
        cache: Content of `path`.
        path: The text file.
        stamp: Size and times of the text file before it was read.
    """
    columns = {name: getattr(cache, name) for name in _COLUMNS if getattr(cache, name) is not None}
    # A narrower type, if the values fit, makes the file smaller.
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
        # The object is a byte array, so that the whole file is a sequence of arrays.
        np.save(stream, np.frombuffer(json.dumps(about).encode(), dtype=np.uint8))
        for column in columns.values():
            np.save(stream, column)


def read_sidecar(path: Path) -> LengthCache | None:
    """The cache of `path`, or None if there is no sidecar of exactly this file."""
    sidecar = path.with_suffix(".npy")
    if not sidecar.is_file() or not path.is_file():
        return None
    with sidecar.open("rb") as stream:
        try:
            about = parse_object(_load(stream).tobytes())
            columns = {name: _load(stream) for name in about["columns"]}
        except (MalformedJson, ValueError, KeyError, TypeError, EOFError, OSError, SyntaxError, TokenError):
            return None  # NumPy raises the last two for damaged heads
    if not _is_fresh(about, path) or _digest(list(columns.values())) != about.get("sha256"):
        return None
    return _cache_of(about, columns, path)


def _cache_of(about: JSON, columns: dict[str, NDArray[Any]], path: Path) -> LengthCache | None:
    """The cache, or None if the sidecar's array types differ from those that this package writes."""
    digest: Any = about.get("digest")
    offset: Any = about.get("offset")
    header: JSON = about["header"] if isinstance(about.get("header"), dict) else {}
    if header.keys() != {item.name for item in fields(LengthsHeader)}:
        return None
    count, texts = header["count"], [header[name] for name in ("data", "template", "tokenizer")]
    are_columns = columns.keys() <= set(_COLUMNS) and "length" in columns
    # One integer per sample in every column.
    sizes = [column.shape == (count,) and column.dtype.kind in "iu" for column in columns.values()]
    # `type() is int` refuses booleans.
    are_typed = isinstance(digest, str) and type(offset) is int and offset >= 0 and type(count) is int
    if not (are_columns and all(sizes) and are_typed and all(isinstance(each, str) for each in texts)):
        return None
    if not all(isinstance(header[name], dict) for name in ("encoding", "parts")):
        return None
    ids = LineIds(path, count, offset)
    return LengthCache(path.name, LengthsHeader(**header), digest, ids, **columns)


def _load(stream: IO[bytes]) -> NDArray[Any]:
    """The next array. Its stated size is checked first, because NumPy allocates before it reads."""
    begin = stream.tell()
    version = np.lib.format.read_magic(stream)
    read_head = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_head(stream)
    left = os.fstat(stream.fileno()).st_size - stream.tell()
    # Object arrays would need pickle, which can run code.
    if dtype.hasobject or prod(shape) * dtype.itemsize > left:
        raise ValueError(f"an array of {shape} {dtype} in {left} bytes")
    # Back to the head, which `np.load` reads itself.
    stream.seek(begin)
    return np.load(stream, allow_pickle=False)


def _is_fresh(about: Any, path: Path) -> bool:
    if not isinstance(about, dict):
        return False
    members = cast("JSON", about)
    # Only the members that must match are compared; others may be added later.
    due = {"sidecar_version": SIDECAR_VERSION, **_stamp(path)}
    return {name: members.get(name) for name in due} == due


def _is_sidecar(path: Path) -> bool:
    with path.open("rb") as stream:
        return b'{"sidecar_version"' in stream.read(HEAD_BYTES)


def _stamp(path: Path) -> JSON:
    about = path.stat()
    # ctime changes with every write and cannot be set back.
    return {"bytes": about.st_size, "mtime_ns": about.st_mtime_ns, "ctime_ns": about.st_ctime_ns}


def _digest(columns: list[NDArray[Any]]) -> str:
    sha = hashlib.sha256()
    for column in columns:
        # Values only: shapes and types are checked when the cache is built.
        sha.update(np.ascontiguousarray(column).data)
    return sha.hexdigest()
