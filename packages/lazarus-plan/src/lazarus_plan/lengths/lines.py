"""Read length caches line by line, in any form of JSON. Errors name file and line."""

from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from lazarus_core.bounded import MAX_ID_BYTES
from lazarus_core.canonical import JSON, MAX_INTEGER
from lazarus_core.jsonl import MalformedLine, PlacedObject, read_objects
from lazarus_plan.errors import FormatError, LengthsError
from lazarus_plan.git_damage import refuse_damaged_lengths
from lazarus_plan.lengths.cache import FORMAT_VERSION, PREFIX_HEX, LengthCache, LengthRow, LengthsHeader, check_unique


def read_lines(path: Path) -> LengthCache:
    """Read a length cache in any form of JSON; `scan` is faster for the usual form.

    Raises:
        LengthsError: A missing, empty or malformed file; the message names file and line.
        FormatError: A header of a newer format.
    """
    objects = _objects(path)
    first = next(objects, None)
    if first is None:
        raise LengthsError(f"{path} is empty: build it with `lazarus_tokenkit.build_lengths`", "LP-E002")
    header = _header_of(first.members, path)
    rows = [] if header is not None else [_row(first, path)]
    rows += [_row(each, path) for each in objects]
    check_unique(rows, str(path), first_line=1 if header is None else 2)
    if header is not None and header.count != len(rows):
        raise LengthsError(
            f"{path} is truncated or extended: its header counts {header.count} samples, it has {len(rows)}; build it again",
            "LP-E004",
        )
    if not rows:
        raise LengthsError(f"{path} has a header and no sample", "LP-E002")
    return LengthCache.from_rows(rows, header, name=path.name)


def read_head(path: Path) -> tuple[LengthsHeader | None, PlacedObject | None]:
    """The header and the first sample; each is None if absent.

    Raises:
        LengthsError: A missing file, or a first line that is malformed.
        FormatError: A header of a newer format.
    """
    objects = _objects(path)
    first = next(objects, None)
    header = None if first is None else _header_of(first.members, path)
    return header, first if header is None else next(objects, None)


def _objects(path: Path) -> Iterator[PlacedObject]:
    """The lines of a file; a missing file is refused with the way out."""
    if path.is_dir():
        raise LengthsError(
            f"{path} is a folder, not a length cache: build one with `lazarus_tokenkit.build_lengths`", "LP-E001"
        )
    try:
        yield from read_objects(path)
    except FileNotFoundError:
        raise LengthsError(
            f"{path} does not exist: build it with `lazarus_tokenkit.build_lengths`", "LP-E001"
        ) from None
    except MalformedLine as error:
        refuse_damaged_lengths(path)
        raise LengthsError(error.message, error.code) from error


def _header_of(members: JSON, path: Path) -> LengthsHeader | None:
    """The header, or None if the first line is a sample."""
    if "lazarus_lengths" not in members:
        return None
    version = members["lazarus_lengths"]
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
    for link, parts in known.get("parts", {}).items():
        if not isinstance(parts, dict):
            raise LengthsError(f"{path}:1: `parts.{link}` is {parts!r}, not an object", "LP-E003")
    return LengthsHeader(**known)


def _row(placed: PlacedObject, path: Path) -> LengthRow:
    members, number, _ = placed

    def refuse(problem: str) -> LengthsError:
        return LengthsError(f'{path}:{number}: {problem}; a line looks like {{"id":"a","length":17}}', "LP-E003")

    for name in ("id", "length"):
        if name not in members:
            raise refuse(f"no `{name}`, found {', '.join(f'`{key}`' for key in members) or 'nothing'}")
    sample_id = members["id"]
    if not isinstance(sample_id, str) or not sample_id:
        raise refuse(f"`id` is {sample_id!r}, not a text")
    if len(sample_id) > MAX_ID_BYTES or len(sample_id.encode()) > MAX_ID_BYTES:
        raise refuse(f"`id` has {len(sample_id.encode()):,} bytes; at most {MAX_ID_BYTES:,} are read")
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


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER


def _is_prefix(value: object) -> bool:
    return isinstance(value, str) and len(value) == PREFIX_HEX and set(value) <= set("0123456789abcdef")
