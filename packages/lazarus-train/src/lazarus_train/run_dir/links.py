"""Results of `verify`: one link for each object that was checked, and how it was checked."""

from enum import StrEnum
from typing import NamedTuple


class How(StrEnum):
    """How a link was checked."""

    RECOMPUTED = "recomputed"
    """Recomputed from the files or from their inputs."""
    COMPARED = "compared"
    """Compared with a claim: a pin, or the run's own records."""
    NOT_PROVEN = "not proven"
    """Not bound to the chain, so edits are not detected. The chain does not depend on it."""
    NOT_CHECKED = "NOT checked"
    """The chain depends on it, and it could not be checked."""


class Link(NamedTuple):
    """An object that `verify` checked.

    Args:
        name: Name of the object.
        proof: Description of the result.
        how: How it was checked.
    """

    name: str
    proof: str
    how: How = How.RECOMPUTED

    @property
    def holds(self) -> bool:
        """False for a link that could not be checked."""
        return self.how != How.NOT_CHECKED
