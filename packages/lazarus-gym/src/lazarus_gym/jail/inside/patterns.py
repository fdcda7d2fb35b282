"""Regular expressions in the jail: a pattern that backtracks for ever ends with the time of its verdict."""

import re
from functools import lru_cache


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def matches(pattern: str, text: str, is_whole: bool) -> bool:
    """Whether a pattern occurs in a text.

    Args:
        pattern: A regular expression of Python.
        text: The text.
        is_whole: Whether it must match the whole text.
    """
    found = _pattern(pattern)
    return (found.fullmatch(text) if is_whole else found.search(text)) is not None
