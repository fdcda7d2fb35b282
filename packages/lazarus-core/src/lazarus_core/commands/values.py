"""Values that no option can use: empty paths and texts, numbers without bound, bytes that are not UTF-8."""

import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

MAX_INTEGER = 2**63 - 1
"""Largest whole number of an option. Counts and sizes have lower bounds of their own."""
TEXTS = frozenset({"text", "prompt", "system"})
"""Names of parameters whose empty text is a text; an empty value of any other option is a mistake."""
MAY_BE_EMPTY = "may be empty"
"""Marks another option whose empty value means something: `Annotated[str, typer.Option(...), MAY_BE_EMPTY]`."""


def may_be_empty(function: Callable[..., Any] | None) -> frozenset[str]:
    """Names of the parameters whose value may be empty."""
    if function is None:
        return TEXTS
    parameters = inspect.signature(function).parameters
    return TEXTS | {each.name for each in parameters.values() if MAY_BE_EMPTY in get_args(each.annotation)}


def unusable(value: Any, given: Sequence[str], *, is_blank: bool, is_text: bool) -> str | None:
    """Why a value cannot be used by any option, if so.

    Args:
        value: The value.
        given: The words of the command line.
        is_blank: Whether one of them is empty.
        is_text: Whether an empty text is a text here.
    """
    match value:
        case bool():
            return None
        case int() if abs(value) > MAX_INTEGER:
            return f"must be at most {MAX_INTEGER:,} in size"
        case float() if not math.isfinite(value):
            return "must be a finite number"
        case Path() if is_blank and value == Path() and not {".", "./"} & {*given}:
            return "the path is empty: give one, or omit the option"
        case str() if any("\ud800" <= letter <= "\udfff" for letter in value):
            return "the value is not UTF-8"
        case "" if is_blank and not is_text:
            return "the value is empty: give one, or omit the option"
        case _:
            return None
