"""Regular expressions with a bound of time, by the library `regex`, whose syntax contains that of Python's `re`."""

from functools import cache
from typing import Any

import regex

from lazarus_models.errors import EvaluationError

LIMIT_S = 1.0
"""Longest time of one search: answers have some kilobytes, which a sound expression searches in a millisecond."""
INVALID, TOO_SLOW = "LM-E502", "LM-E510"
_regex: Any = regex  # without types


@cache
def _compile(pattern: str) -> Any:
    return _regex.compile(pattern)


def compiled(pattern: str, place: str) -> Any:
    """A compiled expression.

    Args:
        pattern: The expression.
        place: Where it is from, for messages.

    Raises:
        EvaluationError: It is no regular expression.
    """
    try:
        return _compile(pattern)
    except (_regex.error, RecursionError, OverflowError, MemoryError) as error:
        raise EvaluationError(
            f"{place}: `regex` {pattern[:80]!r} is no regular expression ({error})", INVALID
        ) from error


def is_found(pattern: str, text: str, place: str) -> bool:
    """Whether an expression matches a part of a text.

    Args:
        pattern: The expression.
        text: The text.
        place: Where the expression is from, for messages.

    Raises:
        EvaluationError: The search takes more than a second, or it is no regular expression.
    """
    try:
        return compiled(pattern, place).search(text, timeout=LIMIT_S) is not None
    except TimeoutError as error:
        raise EvaluationError(
            f"{place}: `regex` {pattern[:80]!r} takes more than {LIMIT_S:.0f} s for an answer; simplify it", TOO_SLOW
        ) from error
