"""Estimates the size of an operation's, a method's or a filter's result before it runs.

Covers every operation that can turn a short value into a long one: repeat, join, replace, pad, format, convert to text.
"""

import re
from collections.abc import ItemsView, Iterable, KeysView, Mapping, ValuesView
from itertools import chain
from typing import Any, cast

from jinja2.exceptions import SecurityError
from jinja2.utils import Namespace

from lazarus_tokenkit.templates.limits import check_size

MAX_WIDTH = 64_000
"""Largest width that a number may be padded to, and largest size that a list may be cut to."""
MAX_INDENT = 16
JSON_DEPTH = 64
"""Levels of nesting that the estimate for indented JSON assumes."""
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
"""String methods that a template may call. Each has a size estimate or returns at most three times its string."""
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
"""Filters that a template may use: the ones that chat templates need. Other filters pad, wrap or choose at random."""
WRITING_FILTERS = frozenset(
    ["capitalize", "e", "escape", "lower", "safe", "string", "title", "trim", "truncate", "upper"]
)
"""Filters that convert an argument of any type to text."""
_FIELD = r"(?:%(?:\([^)%]*\))?[^a-zA-Z%({]*|\{[^{}]*)"
PADDED_FIELD, WIDE_FIELD, GIVEN_WIDTH = (re.compile(_FIELD + rest) for rest in (r"[\d*{]", r"\d{6}", r"[*{]"))
"""Fields of `%` and `format` that pad, that have a width of six digits or more, and that take the width as an argument."""


def written_size(value: Any) -> int:
    """Returns an upper bound for the characters of a value as text, and refuses as soon as the bound is too large."""
    # An explicit stack instead of recursion: nesting is not limited here.
    size = 0
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            size += len(each) + 2
        elif isinstance(each, Namespace):
            raise SecurityError("a namespace cannot be written as text")
        elif isinstance(each, dict | ItemsView):
            waiting += chain.from_iterable(dict(cast("dict[Any, Any]", each)).items())
            size += 4
        elif isinstance(each, list | tuple | KeysView | ValuesView):
            waiting += cast("list[Any]", each)
            size += 4
        else:
            size += 24  # a number or a name
        check_size(size)
    return size


def measure_method(owner: object, name: str, args: list[Any]) -> None:
    """Refuses a method call that is not allowed or whose result would be too large.

    Args:
        owner: The object of the method.
        name: The method's name.
        args: The arguments of the call.
    """
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
    """Refuses a format whose result would be too large: a wide field, or too many fields.

    Args:
        pattern: The format string.
        values: The values for its fields.
        mark: Character that starts a field: `%` or `{`.
    """
    elements = _elements(values)
    if len(pattern) > MAX_WIDTH or WIDE_FIELD.search(pattern):
        raise SecurityError(f"it pads beyond {MAX_WIDTH:,} characters")
    if GIVEN_WIDTH.search(pattern):
        _check_widths(elements)
    # Upper bound: every field takes the longest value plus the largest padding.
    padding = MAX_WIDTH if PADDED_FIELD.search(pattern) else 0
    widest = max((written_size(value) for value in elements), default=0)
    check_size(len(pattern) + pattern.count(mark) * (widest + padding))


def measure_filter(name: str, args: list[Any]) -> None:
    """Refuses a filter whose result would be too large.

    Args:
        name: The filter's name.
        args: Its arguments; the first is the filtered value.
    """
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
    """Refuses a JSON text that would be too large.

    Args:
        value: The value to write.
        indent: Spaces for each level, 0 to `MAX_INDENT`, or None for one line.
    """
    size = written_size(value)
    if indent is not None:
        if not 0 <= indent <= MAX_INDENT:
            raise SecurityError(f"it indents by more than {MAX_INDENT}")
        # Estimate: one line with `indent * JSON_DEPTH` spaces for every 24 characters.
        check_size(size * (1 + indent * JSON_DEPTH // 24))


def measure_operation(operator: str, left: Any, right: Any) -> None:
    """Refuses an operation whose result would be too large.

    Args:
        operator: `**`, `%`, `*` or `+`.
        left: The left operand.
        right: The right operand.
    """
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
