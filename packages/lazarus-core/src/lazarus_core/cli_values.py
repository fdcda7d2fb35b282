"""Values that no option can use: empty paths and texts, numbers without bound."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MAX_INTEGER = 2**63 - 1
"""Largest whole number of an option. Counts and sizes have lower bounds of their own."""
MAY_BE_EMPTY = frozenset({"text", "prompt", "system"})
"""Names of parameters whose empty text is a text; an empty value of any other option is a mistake."""


def unusable(name: str, value: Any, given: Sequence[str], *, is_blank: bool) -> str | None:
    """Why a value cannot be used by any option, if so.

    Args:
        name: Of the parameter.
        value: Its value.
        given: The words of the command line.
        is_blank: Whether one of them is empty.
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
        case "" if is_blank and name not in MAY_BE_EMPTY:
            return "the value is empty: give one, or omit the option"
        case _:
            return None
