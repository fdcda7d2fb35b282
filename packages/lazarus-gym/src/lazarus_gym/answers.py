"""Numbers in text as exact fractions: nothing is evaluated and nothing is rounded.

A number is digits with an optional sign, thousands commas, decimal places, a denominator or a percent sign: `-1,234.50`, `3/4`,
`12%`. Currency signs before it and units after it are ignored.
"""

import re
from fractions import Fraction

MAX_DIGITS = 400
"""Longer numbers are no answers; reading them would take quadratic time."""
_NUMBER = re.compile(
    r"(?=[-\u2212+]?[$\u20ac\u00a3]?\.?[0-9])(?P<sign>(?<![\w.)])[-\u2212+])?[$\u20ac\u00a3]?"
    r"(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)?(?P<places>(?<=[0-9])\.[0-9]+|(?<![0-9.])\.[0-9]+)?"
    r"(?:\s?/\s?(?P<below>[0-9]+)(?![0-9/]|\.[0-9]))?(?P<percent>\s?%)?",
    re.ASCII,
)
_MARK = "####"


def last_number(text: str) -> Fraction | None:
    """The last number of a text.

    >>> last_number("3/4 of $1,234.50 is $925.875.")
    Fraction(7407, 8)
    >>> last_number("none") is None
    True
    """
    found = [match for match in _NUMBER.finditer(text) if match["whole"] or match["places"]]
    return _value(found[-1]) if found else None


def all_numbers(text: str) -> list[Fraction]:
    """Every number of a text, in order. One with too many digits or a denominator of 0 is left out.

    >>> all_numbers("3 of 4, or 75 %")
    [Fraction(3, 1), Fraction(4, 1), Fraction(3, 4)]
    """
    found = [_value(match) for match in _NUMBER.finditer(text) if match["whole"] or match["places"]]
    return [each for each in found if each is not None]


def gsm8k_answer(text: str) -> Fraction | None:
    r"""The number after the last `####`, or None: the form of GSM8K's answers (arXiv 2110.14168).

    >>> gsm8k_answer("She sold 48 / 2 = 24 clips.\n#### 72")
    Fraction(72, 1)
    >>> gsm8k_answer("The answer is 72.") is None
    True
    """
    _, mark, answer = text.rpartition(_MARK)
    if not mark:
        return None
    line = answer.strip().split("\n", 1)[0]
    found = [match for match in _NUMBER.finditer(line) if match["whole"] or match["places"]]
    return _value(found[0]) if len(found) == 1 else None  # two numbers are no answer


def _value(match: re.Match[str]) -> Fraction | None:
    whole, places, below = (match["whole"] or "0").replace(",", ""), (match["places"] or "")[1:], match["below"] or "1"
    if max(len(whole), len(places), len(below)) > MAX_DIGITS or not int(below):
        return None
    value = Fraction(int(whole + places), 10 ** len(places) * int(below))
    if match["percent"]:
        value /= 100
    return -value if match["sign"] in ("-", "\u2212") else value
