"""What `verify` says: one link for everything that was looked at, in the words of how it was looked at."""

from enum import StrEnum
from typing import NamedTuple


class How(StrEnum):
    """How a link was looked at."""

    RECOMPUTED = "recomputed"
    """From the bytes that lie there, or from what it was made of."""
    COMPARED = "compared"
    """With what somebody claims: a pin, or what the run wrote down about itself."""
    NOT_PROVEN = "not proven"
    """Nothing binds it to the chain: it can be edited unseen. The chain does not rest on it."""
    NOT_CHECKED = "NOT checked"
    """The chain rests on it, and it could not be checked: a hole."""


class Link(NamedTuple):
    """Something that `verify` looked at.

    Args:
        name: What it is.
        proof: What was found, in words.
        how: How it was looked at.
    """

    name: str
    proof: str
    how: How = How.RECOMPUTED

    @property
    def holds(self) -> bool:
        """False for a hole in the chain."""
        return self.how != How.NOT_CHECKED
