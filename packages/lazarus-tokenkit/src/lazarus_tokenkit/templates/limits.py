"""What one rendering may use: time, the size of one text or list, and the bytes of all that it makes.

Whatever makes something long out of something short is measured before it is done; everything that was made is charged
to the rendering, kept or not, so that its memory has a bound. A list counts 64 bytes an element: what a short text takes.
"""

import re
import threading
import time
from collections.abc import Generator, ItemsView, Iterable, KeysView, Mapping, ValuesView
from contextlib import contextmanager
from itertools import chain
from typing import Any, cast

from jinja2.exceptions import SecurityError
from jinja2.utils import Namespace

MAX_CHARACTERS = 16_000_000
"""Characters of a text, elements of a list: four times what a context window of a million tokens holds."""
MAX_BYTES = 1_000_000_000
"""What one rendering may make, all in all: what joining a thousand turns one by one takes, twice."""
TIMEOUT_S = 10.0
"""A conversation renders in a millisecond; one of a thousand turns in a tenth of a second."""
MAX_WIDTH = 64_000
"""To which a number may be padded, or a list cut."""
MAX_INDENT = 16
JSON_DEPTH = 64
"""Levels of nesting that the measure of indented JSON counts with."""
ELEMENT_BYTES = 64
STRING_METHODS = frozenset(
    [
        "capitalize",
        "casefold",
        "count",
        "endswith",
        "find",
        "format",
        "index",
        "isalnum",
        "isalpha",
        "isdecimal",
        "isdigit",
        "islower",
        "isnumeric",
        "isspace",
        "istitle",
        "isupper",
        "join",
        "lower",
        "lstrip",
        "partition",
        "removeprefix",
        "removesuffix",
        "replace",
        "rfind",
        "rindex",
        "rpartition",
        "rsplit",
        "rstrip",
        "split",
        "splitlines",
        "startswith",
        "strip",
        "swapcase",
        "title",
        "upper",
    ]
)
"""Methods of texts that a template may call; each has a measure, or gives no more than three times its text."""
FILTERS = frozenset(
    [
        "abs",
        "capitalize",
        "count",
        "d",
        "default",
        "dictsort",
        "e",
        "escape",
        "first",
        "float",
        "format",
        "indent",
        "int",
        "items",
        "join",
        "last",
        "length",
        "list",
        "lower",
        "map",
        "max",
        "min",
        "reject",
        "rejectattr",
        "replace",
        "reverse",
        "round",
        "safe",
        "select",
        "selectattr",
        "sort",
        "string",
        "sum",
        "title",
        "tojson",
        "trim",
        "truncate",
        "unique",
        "upper",
    ]
)
"""Filters that a template may use: those of chat templates. Others pad, wrap or pick at random."""
WRITING_FILTERS = frozenset(
    ["capitalize", "e", "escape", "lower", "safe", "string", "title", "trim", "truncate", "upper"]
)
"""Filters that write their argument out, whatever it is."""
_FIELD = r"(?:%(?:\([^)%]*\))?[^a-zA-Z%({]*|\{[^{}]*)"
PADDED_FIELD, WIDE_FIELD, GIVEN_WIDTH = (re.compile(_FIELD + rest) for rest in (r"[\d*{]", r"\d{6}", r"[*{]"))
"""Fields of `%` and `format` that pad, that pad to a million, and whose width is an argument."""
_budget = threading.local()


@contextmanager
def limited() -> Generator[None]:
    """Within it, templates of this thread share one budget of time and bytes."""
    _budget.deadline = time.monotonic() + TIMEOUT_S
    _budget.bytes = MAX_BYTES
    try:
        yield
    finally:
        del _budget.deadline, _budget.bytes


def look_at_clock() -> None:
    """Stands in every loop and call.

    Raises:
        SecurityError: The time is over.
    """
    if time.monotonic() > getattr(_budget, "deadline", float("inf")):
        raise SecurityError(f"it runs for more than {TIMEOUT_S:g} s")


def charge(made: Any) -> Any:
    """Counts what was made; gives it back.

    Raises:
        SecurityError: It, or all that was made so far, is too much.
    """
    if isinstance(made, str):
        _spend(len(made), 1 if made.isascii() else 4)
    elif isinstance(made, list | tuple | dict):
        _spend(len(cast("list[Any]", made)), ELEMENT_BYTES)
    return cast("Any", made)


def check_size(size: int) -> None:
    """Refuses a text or list of that size."""
    if size > MAX_CHARACTERS:
        raise SecurityError(f"it makes more than {MAX_CHARACTERS:,} characters")


def written_size(value: Any) -> int:
    """Characters of a value, written out, at most; stops as soon as that is too many."""
    size = 0
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            size += len(each) + 2
        elif isinstance(each, Namespace):
            raise SecurityError("a namespace is no text")
        elif isinstance(each, dict | ItemsView):
            waiting += chain.from_iterable(dict(cast("dict[Any, Any]", each)).items())
            size += 4
        elif isinstance(each, list | tuple | KeysView | ValuesView):
            waiting += cast("list[Any]", each)
            size += 4
        else:
            size += 24  # a number, or the name of something
        check_size(size)
    return size


def measure_method(owner: object, name: str, args: list[Any]) -> None:
    """Refuses a call of a method that is not allowed or would make too much."""
    if isinstance(owner, int | float | bytes) or (isinstance(owner, str) and name not in STRING_METHODS):
        raise SecurityError(f"the method `{name}` is refused")
    if not isinstance(owner, str):
        return
    match name, args:
        case "replace", [str(old), str(new), *_]:
            check_size(_replaced_size(owner, old, new))
        case "join", [elements, *_]:
            check_size(written_size(elements) + len(owner) * len(elements))
        case "format", _:
            measure_format(owner, args, "{")
        case _:
            pass


def measure_format(pattern: str, values: Any, mark: str) -> None:
    """Refuses a pattern with a wide field, or one that repeats its values too often."""
    elements = _elements(values)
    if len(pattern) > MAX_WIDTH or WIDE_FIELD.search(pattern):
        raise SecurityError(f"it pads beyond {MAX_WIDTH:,} characters")
    if GIVEN_WIDTH.search(pattern):
        _check_widths(elements)
    padding = MAX_WIDTH if PADDED_FIELD.search(pattern) else 0
    widest = max((written_size(value) for value in elements), default=0)
    check_size(len(pattern) + pattern.count(mark) * (widest + padding))


def measure_filter(name: str, args: list[Any]) -> None:
    """Refuses a filter whose result would be too much."""
    match name, args:
        case "replace", [value, old, new, *_]:
            written_size([value, old, new])
            check_size(_replaced_size(str(value), str(old), str(new)))
        case "join", [elements, *rest]:
            separator = len(str(rest[0])) if rest else 0
            check_size(written_size(elements) + separator * len(elements))
        case "format", [pattern, *values]:
            measure_format(str(pattern), values, "%")
        case "indent", [text, *rest]:
            _check_widths(rest)
            wide = rest[0] if rest else 4
            width = len(wide) if isinstance(wide, str) else int(wide)
            check_size(written_size(text) + str(text).count("\n") * width)
        case "sum", [elements, *_]:
            written_size(elements)
        case _:
            _check_widths(args[1:])
            if name in WRITING_FILTERS and args:
                written_size(args[0])


def measure_json(value: Any, indent: int | None) -> None:
    """Refuses JSON that would be too much."""
    size = written_size(value)
    if indent is not None:
        if not 0 <= indent <= MAX_INDENT:
            raise SecurityError(f"it indents by more than {MAX_INDENT}")
        check_size(size * (1 + indent * JSON_DEPTH // 24))


def joined(parts: Iterable[str]) -> str:
    """`"".join`, measured."""
    texts = list(parts)
    check_size(sum(map(len, texts)))
    return charge("".join(texts))


def measure_operation(operator: str, left: Any, right: Any) -> None:
    """Refuses an operation that would make too much."""
    match operator, left, right:
        case "**", _, _:
            raise SecurityError("`**` is refused")
        case "%", str(), _:
            measure_format(left, right, "%")
        case "*", _, _:
            check_size(_factor(left) * _factor(right))
        case "+", str() | list() | tuple(), str() | list() | tuple():
            check_size(len(cast("list[Any]", left)) + len(cast("list[Any]", right)))
        case _:
            pass


def _spend(count: int, each: int) -> None:
    check_size(count)
    left = getattr(_budget, "bytes", MAX_BYTES) - count * each
    if left < 0:
        raise SecurityError(f"it makes more than {MAX_BYTES:,} bytes in all")
    _budget.bytes = left


def _replaced_size(text: str, old: str, new: str) -> int:
    return len(text) + text.count(old) * max(len(new) - len(old), 0)


def _check_widths(values: Iterable[Any]) -> None:
    if any(isinstance(value, int) and abs(value) > MAX_WIDTH for value in values):
        raise SecurityError(f"it pads beyond {MAX_WIDTH:,} characters")


def _factor(value: Any) -> int:
    return int(abs(value)) if isinstance(value, int | float) else len(value) if hasattr(value, "__len__") else 1


def _elements(values: Any) -> list[Any]:
    match values:
        case list() | tuple():
            return list(cast("list[Any]", values))
        case Mapping():
            return list(cast("Mapping[Any, Any]", values).values())
        case _:
            return [values]
