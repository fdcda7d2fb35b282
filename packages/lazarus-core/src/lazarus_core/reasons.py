"""Words that the messages of all packages share: reasons of pydantic's and Typer's errors, and paths where nothing is."""

import os
import re
from pathlib import Path

_INTEGER, _NUMBER = "must be a whole number", "must be a number"
_PLAIN = (
    (r"Value error, ", ""),
    (r"'[^']*' is not a valid (integer|int)( range)?", _INTEGER),
    (r"'[^']*' is not a valid (float|number)( range)?", _NUMBER),
    (r"Input should be a valid integer, unable to parse string as an integer", _INTEGER),
    (r"Input should be a valid integer, got a number with a fractional part", _INTEGER),
    (r"Unable to parse input string as an integer, exceeded maximum size", "must have fewer digits"),
    (r"Input should be a valid integer", _INTEGER),
    (r"Input should be a valid number(, unable to parse string as a number)?", _NUMBER),
    (r"Input should be a valid boolean(, unable to interpret input)?", "must be true or false"),
    (r"Input should be a valid string", "must be a text"),
    (r"Input should be a valid (list|tuple|array)", "must be a list"),
    (r"Input should be a valid dictionary.*", "must be an object with keys"),
    (r"Input should be (greater than or equal to|at least) ", "must be at least "),
    (r"Input should be (less than or equal to|at most) ", "must be at most "),
    (r"Input should be greater than ", "must be above "),
    (r"Input should be less than ", "must be below "),
    (r"Input should ", "must "),
    (r"Field required", "is missing"),
    (r"Extra inputs are not permitted", "is unknown"),
    (r"(String|List|Tuple|Dictionary|Set) should have (at least|at most) (\d+) (\w+)( after validation)?", r"must have \2 \3 \4"),
)  # fmt: skip
"""Words of pydantic, each with the plain ones."""


def absent_or(path: Path, otherwise: str) -> str:
    """A path and why it cannot be used: nothing is there, or something else is.

    >>> absent_or(Path("nowhere"), "is not a plan")
    'nowhere does not exist'
    >>> absent_or(Path("."), "is not a plan")
    '. is not a plan'

    Args:
        path: The path.
        otherwise: What follows the path if something is there.
    """
    return f"{path} {otherwise if os.path.lexists(path) else 'does not exist'}"


def plain_reason(message: str) -> str:
    """Replaces the words of pydantic in a message. Other words stay.

    >>> plain_reason("Input should be greater than or equal to 1")
    'must be at least 1'
    >>> plain_reason("Value error, `row_len` is 0")
    '`row_len` is 0'
    """
    for pattern, words in _PLAIN:
        message = re.sub(pattern, words, message)
    return message
