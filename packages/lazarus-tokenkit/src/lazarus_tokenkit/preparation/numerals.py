"""Numbers in one spelling, so that equal numbers are equal tokens.

`plain` takes separators of thousands out and turns full-width digits into ASCII; `spaced` also puts a space between
digits, so that each is a token whatever the vocabulary.
"""

import re
from typing import Literal

Style = Literal["plain", "spaced"]
NUMBER = re.compile(r"(?<![\w.,])[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w,]*\d)")
"""An integer or decimal, with commas between thousands or without."""
_FULL_WIDTH = str.maketrans({chr(0xFF10 + digit): str(digit) for digit in range(10)})


def normalize_numbers(text: str, style: Style = "plain") -> str:
    """A text with its numbers in one spelling; what is no number stays.

    >>> normalize_numbers("1,234.5 of v1.2, in 2024")
    '1234.5 of v1.2, in 2024'
    >>> normalize_numbers("12 + 345", "spaced")
    '1 2 + 3 4 5'
    """
    spelled = NUMBER.sub(lambda found: found[0].replace(",", ""), text.translate(_FULL_WIDTH))
    return re.sub(r"(?<=\d)(?=\d)", " ", spelled) if style == "spaced" else spelled


def join_digits(text: str) -> str:
    """The reverse of `spaced`, for texts whose digits were not spaced before.

    >>> join_digits("1 2 + 3 4 5")
    '12 + 345'
    """
    return re.sub(r"(?<=\d) (?=\d)", "", text)
