r"""Strict, bounded JSON reader of every Lazarus package.

It refuses what RFC 8259 leaves open and other readers interpret differently, and what takes unbounded memory or time:

- a member that occurs twice, NaN and Infinity, a number beyond the range of a double, a trailing comma;
- half of a surrogate pair, bytes that are not UTF-8, a byte order mark (a file may begin with one, it is skipped);
- an integer of more than 4,300 digits, more than 201 levels, more than 8,388,608 values.

jiter parses, in a third of the time of Python's `json`. Python's `json` then locates errors.

>>> parse_json(b'{"id":"a","length":17}')
{'id': 'a', 'length': 17}
>>> parse_json(b'{"id":"a","id":"b"}')
Traceback (most recent call last):
    ...
lazarus_core.strict_json.MalformedJson: member 'id' occurs twice
"""

import json
import math
import re
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import jiter

from lazarus_core.bounded import MAX_FILE_BYTES, read_bytes
from lazarus_core.canonical import JSON
from lazarus_core.errors import InputError
from lazarus_core.source_files import has_markers

BOM = b"\xef\xbb\xbf"
MAX_DIGITS = 4300
"""Maximum digits of an integer. Python's default bound, independent of `PYTHONINTMAXSTRDIGITS`."""
MAX_DEPTH = 201
"""Maximum depth of lists and objects: jiter's bound. With Python's `json` it depends on the caller's stack."""
MAX_VALUES = 1 << 23
"""Maximum values of one text, counted by brackets and commas. An empty list takes 100 bytes of memory for 3 of text."""
Fault = Literal["encoding", "syntax", "type"]
"""encoding: the bytes are not UTF-8. syntax: the text is not strict JSON. type: the value is not an object."""


class MalformedJson(InputError):
    """A text that is not one JSON value, or not of the expected type.

    Args:
        problem: What is wrong, in words.
        fault: Kind of problem.
        at: 0-based byte in the text, or None if the whole text is wrong.
        line: 1-based line in the text, or None if it has one line.
        column: 1-based character in the line, or None if the whole line is wrong.
        place: `file` or `file:line`; empty if no file is known.
        offset: Position of the text in the file, in bytes.
    """

    def __init__(
        self,
        problem: str,
        fault: Fault,
        at: int | None = None,
        line: int | None = None,
        column: int | None = None,
        place: str = "",
        offset: int | None = None,
    ) -> None:
        is_line = re.search(r":\d+$", place) is not None  # of a file whose lines are texts of their own
        shown = (line or (1 if column and not is_line else None), column)
        where = place + "".join(f":{each}" for each in shown if each)
        far = f" (offset {offset + (at or 0)} in the file)" if offset is not None else ""
        super().__init__(f"{where}: {problem}{far}" if place else problem, "LP-E003")
        self.problem = problem
        self.fault: Fault = fault
        self.at, self.line, self.column, self.place, self.offset = at, line, column, place, offset

    def placed(self, place: str, offset: int | None = None) -> "MalformedJson":
        """Copy of this error with its place.

        Args:
            place: `file` or `file:line`.
            offset: Position of the text in the file, in bytes.
        """
        return MalformedJson(self.problem, self.fault, self.at, self.line, self.column, place, offset)


def read_json(path: Path | str, *, max_bytes: int = MAX_FILE_BYTES) -> Any:
    """Read the JSON value in a file. A byte order mark at its start is skipped.

    Args:
        path: A regular file.
        max_bytes: Maximum size. A larger file is refused before it is read.

    Raises:
        MalformedJson: Names file, line and column.
        InputError: It is no regular file (LP-E011), or too large (LP-E012).
        OSError: The system refuses.
    """
    return parse_json(read_bytes(path, max_bytes).removeprefix(BOM), str(path))


def read_object(path: Path | str, *, max_bytes: int = MAX_FILE_BYTES) -> JSON:
    """Read the JSON object in a file. A byte order mark at its start is skipped.

    Args:
        path: A regular file.
        max_bytes: Maximum size. A larger file is refused before it is read.

    Raises:
        MalformedJson: Names file, line and column; also for another JSON value than an object.
        InputError: It is no regular file (LP-E011), or too large (LP-E012).
        OSError: The system refuses.
    """
    return parse_object(read_bytes(path, max_bytes).removeprefix(BOM), str(path))


def parse_json(content: bytes | str, place: str = "", *, allow_infinity: bool = False) -> Any:
    """Parse a JSON value. White space around it is allowed.

    Args:
        content: UTF-8 bytes without a byte order mark, or a `str`.
        place: `file` or `file:line`, for messages.
        allow_infinity: Read `Infinity` and `-Infinity`, which transformers 4 writes into `config.json`; never NaN.

    Raises:
        MalformedJson: Says what is wrong and where.
    """
    try:
        return _parse(content.encode() if isinstance(content, str) else content, allow_infinity)
    except UnicodeEncodeError as error:
        raise MalformedJson(
            f"character {error.start + 1} is half of a surrogate pair", "encoding", place=place
        ) from error
    except MalformedJson as error:
        if not place:
            raise
        raise error.placed(place) from error


def parse_object(content: bytes | str, place: str = "", *, allow_infinity: bool = False) -> JSON:
    """Parse a JSON object. White space around it is allowed.

    Args:
        content: UTF-8 bytes without a byte order mark, or a `str`.
        place: `file` or `file:line`, for messages.
        allow_infinity: Read `Infinity` and `-Infinity`; never NaN.

    Raises:
        MalformedJson: Says what is wrong and where.
    """
    value = parse_json(content, place, allow_infinity=allow_infinity)
    if not isinstance(value, dict):
        raise MalformedJson(f"not a JSON object but {kind(value)}", "type", place=place)
    return cast("JSON", value)


def kind(value: Any) -> str:
    """Name of the type of a JSON value, such as "a list"."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return f"a {type(cast('object', value)).__name__}"


def _parse(content: bytes, allow_infinity: bool) -> Any:
    if len(content) > MAX_VALUES:  # fewer bytes cannot hold more values
        _refuse_many_values(content)
    try:
        value = jiter.from_json(content, allow_inf_nan=allow_infinity, catch_duplicate_keys=True)
    except ValueError as error:
        raise _refusal(content, str(error)) from error
    if allow_infinity:
        if _has_float(value, math.isnan):
            raise MalformedJson("NaN is no number of JSON: write null", "syntax")
    elif _has_float(value, math.isinf):
        raise MalformedJson("a number beyond the range of a double (1.8e308)", "syntax")
    return value


def _refuse_many_values(content: bytes) -> None:
    count = sum(map(content.count, (b",", b"[", b"{")))
    if count > MAX_VALUES:
        raise MalformedJson(f"more than {MAX_VALUES:,} values (brackets and commas are counted): split it", "syntax")


def _has_float(value: Any, is_wrong: Callable[[float], bool]) -> bool:
    """Whether a value contains a float for which `is_wrong` is true. jiter and Python read 1e400 as infinity."""
    if isinstance(value, float):
        return is_wrong(value)
    parts: list[Any] = [value]
    while parts:
        part = parts.pop()
        values: Any = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] (JSON)
        for each in values:
            what = cast("object", type(each))
            if what is dict or what is list:
                parts.append(each)
            elif what is float and is_wrong(each):
                return True
    return False


def _refusal(content: bytes, reason: str) -> MalformedJson:
    """The error for a text that jiter refuses."""
    if content.startswith(BOM):
        words = (
            "there is a byte order mark before the value, as where files are joined: remove the bytes EF BB BF there"
        )
        return MalformedJson(words, "encoding", 0)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        return _not_utf8(content, error.start)
    if "recursion" in reason:
        return MalformedJson(f"nested too deeply: more than {MAX_DEPTH} levels of lists and objects", "syntax")
    if found := re.search(rf"\d{{{MAX_DIGITS + 1},}}", text):
        words = f"an integer of {len(found[0]):,} digits; at most {MAX_DIGITS:,} are read: write it as a text"
        return _at(text, found.start(), words)
    try:
        value = _DECODER.decode(text)
    except _WrongConstant as error:
        return _at(text, _position_of_constant(text), error.problem)
    except MalformedJson as error:
        return error
    except json.JSONDecodeError as error:
        return _syntax(text, error)
    except RecursionError:
        return MalformedJson(f"nested too deeply: more than {MAX_DEPTH} levels of lists and objects", "syntax")
    return _half_a_pair(text, value) or MalformedJson(f"not JSON: {reason}", "syntax")


def _not_utf8(content: bytes, at: int) -> MalformedJson:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return MalformedJson("UTF-16, not UTF-8; convert the file", "encoding", 0)
    line = content.count(b"\n", 0, at)
    start = content.rfind(b"\n", 0, at) + 1
    words = f"byte {at - start + 1} of the line is not UTF-8"
    return MalformedJson(words, "encoding", at, line + 1 if line else None)


def _unique(pairs: list[tuple[str, Any]]) -> JSON:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise MalformedJson(f"member {_shown.repr(twice)} occurs twice", "syntax")
    return members


class _WrongConstant(MalformedJson):
    """NaN or an infinity, whose position Python's `json` does not tell."""


def _refuse_constant(name: str) -> float:
    raise _WrongConstant(f"{name} is no number of JSON: write null", "syntax")


def _position_of_constant(text: str) -> int:
    """The first NaN or infinity outside of strings."""
    found = re.finditer(r'"(?:[^"\\]|\\.)*"|NaN|-?Infinity', text, re.DOTALL)
    return next(each.start() for each in found if not each[0].startswith('"'))


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
_shown = reprlib.Repr()
_shown.maxstring = 100


def _syntax(text: str, error: json.JSONDecodeError) -> MalformedJson:
    if not text.strip():
        return MalformedJson("a blank line" if text else "empty", "syntax")
    if has_markers(text.encode()):
        words = "a merge conflict: keep the lines that you want of both sides, and delete the three that git added"
        return MalformedJson(words, "syntax")
    problem = f"not JSON: {error.msg}"
    before = text[: error.pos].rstrip(" \t\r\n")
    is_open = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
    if text[error.pos :].strip() == "," and error.msg == "Extra data":
        problem += ", a comma after the value: in JSON Lines no line ends with a comma; remove it from every line"
    elif is_open and not text.endswith("\n"):
        problem += ", and no line feed follows: the file was cut off"
    elif "\r" in text[len(before) : error.pos] and "\n" not in text[len(before) : error.pos]:
        problem += " after a CR: lines end with LF or CR LF; convert the file, such as `tr '\\r' '\\n' < OLD > NEW`"
    return _at(text, min(error.pos, len(text.rstrip("\r\n"))), problem)


def _half_a_pair(text: str, value: Any) -> MalformedJson | None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        problem = "half of a surrogate pair, which no UTF-8 text can hold"
        return _at(text, max(text.lower().find(half), 0), problem)
    return None


def _at(text: str, position: int, problem: str) -> MalformedJson:
    line = text.count("\n", 0, position)
    start = text.rfind("\n", 0, position) + 1
    at = len(text[:position].encode())
    return MalformedJson(problem, "syntax", at, line + 1 if line else None, position - start + 1)
