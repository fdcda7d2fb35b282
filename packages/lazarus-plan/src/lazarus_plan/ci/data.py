"""Compare data files with the digests in a length cache, and read the text of rows."""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import cast

from lazarus_core.bounded import open_file, read_lines
from lazarus_core.canonical import JSON
from lazarus_core.source_files import BLOCK_BYTES, HEAD_BYTES, find_marker, is_lfs_pointer
from lazarus_core.strict_json import BOM
from lazarus_plan.checks.against_data import with_companions
from lazarus_plan.errors import PlanError
from lazarus_plan.findings import SHOWN, Finding
from lazarus_plan.git_damage import data_conflict, line_ends_advice
from lazarus_plan.lengths.cache import LengthCache
from lazarus_plan.lengths.changes import RowChange
from lazarus_plan.locks.inputs import find_file

NOT_COMPARED = "LP-W206"
REBUILD = "build lengths again and call `update_lock`, or restore the data"


@dataclass(frozen=True)
class ChangedText:
    """A row that differs, with its text if the data is available.

    Args:
        kind: `added`, `removed` or `changed`.
        row: The row.
        old: Text before.
        new: Text after.
        is_stale: Whether the data changed but not yet the lengths.
    """

    kind: str
    row: RowChange
    old: str | None = None
    new: str | None = None
    is_stale: bool = False


@dataclass(frozen=True)
class DataFiles:
    """The data files of one length cache.

    Args:
        paths: The files, in the order of the cache's header; empty if they are not known.
        missing: Reason why they cannot be compared; empty if they can.
    """

    paths: tuple[Path, ...] = ()
    missing: str = ""


def named_files(cache: LengthCache) -> list[JSON]:
    """The data files in the header of a cache: `name`, `bytes`, `sha256` of each. Files with a `role` have no rows.

    Raises:
        PlanError: The header has another structure.
    """
    about = cache.header.parts.get("data", {})
    files = cast("JSON", about).get("files", []) if isinstance(about, dict) else None
    if not isinstance(files, list) or not all(map(_is_file, cast("list[object]", files))):
        raise PlanError(f"{cache.name}:1: `parts.data.files` is no list of files with `name` and `sha256`", "LP-E003")
    return [file for file in cast("list[JSON]", files) if "role" not in file]


def _is_file(file: object) -> bool:
    members = cast("JSON", file) if isinstance(file, dict) else {}
    return all(isinstance(members.get(name), str) for name in ("name", "sha256"))


def find_data(caches: Sequence[LengthCache], given: Sequence[Path], folders: Sequence[Path]) -> list[DataFiles]:
    """Find the data files of each cache.

    Args:
        caches: Length caches.
        given: All their data files, in order; empty to search for the names in the headers.
        folders: Folders to search.

    Raises:
        PlanError: The number of given files differs from the headers.
    """
    names = [[str(file["name"]) for file in named_files(cache)] for cache in caches]
    given = with_companions(given)
    if given and len(given) != sum(map(len, names)):
        listed = ", ".join(name for each in names for name in each) or "none"
        raise PlanError(f"{len(given)} data files are given, the length caches name {listed}", "LP-E009")
    for path in given:
        if not path.is_file():
            raise PlanError(f"{path} does not exist: give the data files that the lengths were built from", "LP-E009")
    rest = iter(given)
    return [
        _find(cache, each, [next(rest) for _ in each] if given else [], folders)
        for cache, each in zip(caches, names, strict=True)
    ]


def _find(cache: LengthCache, names: Sequence[str], given: Sequence[Path], folders: Sequence[Path]) -> DataFiles:
    if not names:
        return DataFiles(missing=f"{cache.name} names no data file: build it with `lazarus_tokenkit.build_lengths`")
    found = [path or find_file(name, folders) for name, path in zip_longest(names, given)]
    for name, path in zip(names, found, strict=True):
        if path is None:
            return DataFiles(missing=f"{name} was not found next to {cache.name}: give its path")
        if _is_pointer(path):
            return DataFiles(missing=f"{path} is a Git LFS pointer: check out with LFS (actions/checkout: `lfs: true`)")
    return DataFiles(tuple(path for path in found if path is not None))


def _is_pointer(path: Path) -> bool:
    with open_file(path) as stream:
        return is_lfs_pointer(stream.read(HEAD_BYTES))


def check_data(cache: LengthCache, files: DataFiles, lengths: Path, stale: Sequence[ChangedText]) -> list[Finding]:
    """Compare data files with the digests that a length cache was built from, byte by byte.

    Args:
        cache: The length cache.
        files: Its data files.
        lengths: Path of the cache, for findings.
        stale: Result of `stale_rows`: the rows to name.

    Returns:
        One finding for each file that differs, or one warning if nothing was compared.

    Raises:
        PlanError: A file has an unresolved merge conflict.
    """
    if files.missing:
        return [Finding(NOT_COMPARED, f"data not compared: {files.missing}", file=str(lengths))]
    return [
        Finding("LP-E140", _difference(about, path, lengths, stale), file=str(path))
        for about, path in zip(named_files(cache), files.paths, strict=True)
        if file_sha256(path) != about["sha256"]
    ]


def _difference(about: JSON, path: Path, lengths: Path, stale: Sequence[ChangedText]) -> str:
    """Describe how a data file differs from the one that the lengths were built from."""
    line = find_marker(path)
    if line is not None:
        raise data_conflict(path, line, str(lengths))
    what = f"data: {path} is not the file that {lengths} was built from"
    if sha256_of_lf(path) == about["sha256"]:
        return f"{what}: {line_ends_advice(f'*{path.suffix}')}"
    names = ", ".join(f"{change.kind} row {change.row.id!r}" for change in stale[:SHOWN])
    more = f" and {len(stale) - SHOWN} more" if len(stale) > SHOWN else ""
    return f"{what}{': ' if names else ''}{names}{more}; the lengths are stale: {REBUILD}"


def stale_rows(number: int, cache: LengthCache, files: DataFiles, before: DataFiles) -> list[ChangedText]:
    """The rows in which data files differ from those of the base, if the lengths were built from the base's files.

    Args:
        number: 0-based position of the source.
        cache: The length cache under review.
        files: Its data files.
        before: The data files of the base.

    Returns:
        Empty if the files are equal or not JSON Lines, or if the base's files are not those of `cache`.
    """
    if not is_jsonl(files) or not is_jsonl(before) or len(files.paths) != len(before.paths):
        return []
    if not is_data_of(cache, before) or is_data_of(cache, files):
        return []
    old, new = ([hashlib.sha256(row).digest() for row in _rows(each.paths)] for each in (before, files))
    only_old, only_new = _unmatched(old, new), _unmatched(new, old)
    places = [(at if at in only_old else None, at if at in only_new else None) for at in sorted(only_old | only_new)]
    return [_stale_row(number, cache, files.paths[0].name, *pair) for pair in places]


def _unmatched(rows: Sequence[bytes], others: Sequence[bytes]) -> set[int]:
    """Positions of the rows that `others` lacks; repeated rows are counted."""
    left = Counter(others)
    left.subtract(rows)
    places: set[int] = set()
    for at in reversed(range(len(rows))):
        if left[rows[at]] < 0:
            left[rows[at]] += 1
            places.add(at)
    return places


def _stale_row(number: int, cache: LengthCache, name: str, old: int | None, new: int | None) -> ChangedText:
    at = new if old is None else old
    assert at is not None, "a row is of one of the files"
    identity = cache.ids[at] if old is not None else f"number {at}"
    length = int(cache.length[at]) if old is not None else 0
    kind = "added" if old is None else "removed" if new is None else "changed"
    return ChangedText(kind, RowChange(number, name, identity, old, new, (length, length)), is_stale=True)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of_lf(path: Path) -> str:
    """SHA-256 of a file as if every CRLF were LF, 64 hexadecimal digits."""
    sha, held = hashlib.sha256(), b""
    with open_file(path) as stream:
        while block := held + stream.read(BLOCK_BYTES):
            held = b"\r" if block.endswith(b"\r") and len(block) > len(held) else b""  # an LF may follow
            sha.update(block[: len(block) - len(held)].replace(b"\r\n", b"\n"))
    return sha.hexdigest()


def read_texts(files: DataFiles, positions: Sequence[int]) -> dict[int, str]:
    """The lines of some rows; empty if the files are not JSON Lines with one line per row.

    Args:
        files: Data files.
        positions: 0-based positions of the rows over all files; blank lines are not counted.
    """
    if not is_jsonl(files):
        return {}
    wanted = set(positions)
    return {at: _one_line(row) for at, row in enumerate(_rows(files.paths)) if at in wanted}


def is_data_of(cache: LengthCache, files: DataFiles) -> bool:
    """Whether a length cache was built from exactly these data files. Every file is read and hashed.

    Args:
        cache: Length cache; its header states the SHA-256 of each data file.
        files: Data files in the order of the header. Files that were not found give False.
    """
    return bool(files.paths) and [file_sha256(path) for path in files.paths] == [
        file["sha256"] for file in named_files(cache)
    ]


def is_jsonl(files: DataFiles) -> bool:
    """Whether the rows of data files are lines."""
    return bool(files.paths) and all(path.suffix == ".jsonl" for path in files.paths)


def _rows(paths: Sequence[Path]) -> Iterator[bytes]:
    for path in paths:
        with open_file(path) as stream:
            lines = enumerate(read_lines(stream, path))
            rows = (line if number else line.removeprefix(BOM) for number, line in lines)
            yield from (row for row in rows if row.strip())


def _one_line(row: bytes) -> str:
    """A row of a file, with control characters escaped."""
    text = row.decode("utf-8", "replace").strip()
    with contextlib.suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text), ensure_ascii=False)
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)
