"""Writes numbers in one format, so that equal numbers have equal tokens.

`plain` removes thousands separators and converts full-width digits to ASCII. `spaced` also puts a space between digits,
so that each digit is a token with any vocabulary.
"""

import re
from typing import Literal

Style = Literal["plain", "spaced"]
NUMBER = re.compile(r"(?<![\w.,])[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w,]*\d)")
"""An integer or decimal number, with or without thousands separators."""
_FULL_WIDTH = str.maketrans({chr(0xFF10 + digit): str(digit) for digit in range(10)})


def normalize_numbers(text: str, style: Style = "plain") -> str:
    """Writes the numbers of a text in one format. Other text is unchanged, except for full-width digits.

    >>> normalize_numbers("1,234.5 of v1.2, in 2024")
    '1234.5 of v1.2, in 2024'
    >>> normalize_numbers("12 + 345", "spaced")
    '1 2 + 3 4 5'

    Args:
        text: Any text.
        style: `plain` removes thousands separators; `spaced` also puts a space between digits.
    """
    plain = NUMBER.sub(lambda found: found[0].replace(",", ""), text.translate(_FULL_WIDTH))
    return re.sub(r"(?<=\d)(?=\d)", " ", plain) if style == "spaced" else plain


def join_digits(text: str) -> str:
    """Removes the spaces between digits: the reverse of `spaced` for texts that had no such spaces before.

    >>> join_digits("1 2 + 3 4 5")
    '12 + 345'
    """
    return re.sub(r"(?<=\d) (?=\d)", "", text)
