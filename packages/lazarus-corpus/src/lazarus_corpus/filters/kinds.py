"""What a filter is."""

from collections.abc import Callable
from typing import NamedTuple


class Verdict(NamedTuple):
    """What a filter says.

    Args:
        text: The text, which some rules change (C4 removes lines).
        reason: Why the document is removed; None to keep it.
    """

    text: str
    reason: str | None


Filter = Callable[[str], Verdict]
"""A function from a text to a verdict."""
