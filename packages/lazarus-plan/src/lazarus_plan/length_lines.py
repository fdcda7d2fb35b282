"""Length caches line by line: any spelling of JSON, and what is wrong with a line, by file and number."""

import contextlib
import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from lazarus_plan.canonical import JSON, MAX_INTEGER
from lazarus_plan.errors import FormatError, LengthsError
from lazarus_plan.lengths import FORMAT_VERSION, PREFIX_HEX, LengthCache, LengthRow, LengthsHeader, check_unique


def read_lines(path: Path) -> LengthCache:
    """Reads a length cache slowly, whatever its spelling.

    Raises:
        LengthsError: A missing, empty or malformed file; the message names file and line.
        FormatError: A header of a newer format.
    """
    with readable(path) as lines:
        first = next(lines, None)
        if first is None:
            raise LengthsError(f"{path} is empty: build it with `lazarus data lengths build`", "LP-E002")
        header = parse_header(first, path)
        if header is None:
            rows = [_parse_row(first, path, 1)]
        else:
            rows: list[LengthRow] = []
        start = len(rows) + (0 if header is None else 1) + 1
        rows.extend(_parse_row(line, path, number) for number, line in enumerate(lines, start))
    check_unique(rows, str(path), first_line=1 if header is None else 2)
    if header is not None and header.count != len(rows):
        raise LengthsError(
            f"{path} is truncated or extended: its header counts {header.count} samples, it has {len(rows)}; build it again",
            "LP-E004",
        )
    if not rows:
        raise LengthsError(f"{path} holds a header and no sample", "LP-E002")
    return LengthCache.from_rows(rows, header, name=path.name)


@contextlib.contextmanager
def readable(path: Path) -> Generator[Iterator[bytes]]:
    """The lines of a file, or what to do about its absence."""
    if path.is_dir():
        raise LengthsError(f"{path} is a folder, not a length cache", "LP-E001")
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        raise LengthsError(f"{path} does not exist: build it with `lazarus data lengths build`", "LP-E001") from None
    with stream:
        yield iter(stream)


def parse_header(line: bytes, path: Path) -> LengthsHeader | None:
    """The header, or None if the first line is a sample."""
    members = _parse_line(line, path, 1)
    if "lazarus_lengths" not in members:
        return None
    version = members.pop("lazarus_lengths")
    if version != FORMAT_VERSION:
        raise FormatError(
            f"{path} has length format {version!r}, this lazarus-plan reads {FORMAT_VERSION}: upgrade lazarus-plan",
            "LP-E160",
        )
    if not _is_count(members.get("count")):
        raise LengthsError(f"{path}:1: `count` is {members.get('count')!r}, not a number of samples", "LP-E003")
    known = {item.name: members[item.name] for item in fields(LengthsHeader) if item.name in members}
    for name, value in known.items():
        if name != "count" and not isinstance(value, dict if name in ("encoding", "parts") else str):
            raise LengthsError(f"{path}:1: `{name}` is {value!r}", "LP-E003")
    return LengthsHeader(**known)


def _parse_row(line: bytes, path: Path, number: int) -> LengthRow:
    members = _parse_line(line, path, number)

    def refuse(problem: str) -> LengthsError:
        return LengthsError(f'{path}:{number}: {problem}; a line looks like {{"id":"a","length":17}}', "LP-E003")

    for name in ("id", "length"):
        if name not in members:
            raise refuse(f"no `{name}`, found {', '.join(f'`{key}`' for key in members) or 'nothing'}")
    sample_id = members["id"]
    if not isinstance(sample_id, str) or not sample_id:
        raise refuse(f"`id` is {sample_id!r}, not a text")
    checks: dict[str, Callable[[Any], bool]] = {
        "length": _is_count,
        "loss_tokens": _is_count,
        "parts": lambda value: isinstance(value, list) and all(map(_is_count, cast("list[Any]", value))),
        "h": _is_prefix,
        "row": _is_prefix,
    }
    for name, is_valid in checks.items():
        if name in members and not is_valid(members[name]):
            raise refuse(f"`{name}` is {members[name]!r}")
    parts = members.get("parts")
    return LengthRow(
        id=sample_id,
        length=members["length"],
        loss_tokens=members.get("loss_tokens"),
        parts=tuple(parts) if parts is not None else None,
        h=members.get("h"),
        row=members.get("row"),
    )


def _parse_line(line: bytes, path: Path, number: int) -> JSON:
    try:
        members = json.loads(line)
    except UnicodeDecodeError as error:
        raise LengthsError(f"{path}:{number}: byte {error.start} is not UTF-8", "LP-E003") from error
    except json.JSONDecodeError as error:
        raise LengthsError(f"{path}:{number}:{error.colno}: not JSON: {error.msg}", "LP-E003") from error
    if not isinstance(members, dict):
        raise LengthsError(f"{path}:{number}: not a JSON object", "LP-E003")
    return cast("JSON", members)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER


def _is_prefix(value: object) -> bool:
    return isinstance(value, str) and len(value) == PREFIX_HEX and set(value) <= set("0123456789abcdef")
