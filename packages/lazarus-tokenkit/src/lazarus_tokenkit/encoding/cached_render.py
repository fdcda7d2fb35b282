"""Pieces of text that are encoded separately, and a cache of their layout for each sequence of roles."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

NONCHARACTERS = tuple(map(chr, range(0xFDD0, 0xFDF0)))
"""Code points that Unicode reserves for internal use. Valid text does not contain them."""
PLACEHOLDER = NONCHARACTERS[-3]
"""Encloses a message number where that message's content goes. The next two code points mark `{% generation %}` blocks."""


class Piece(NamedTuple):
    """A span of text that is encoded separately.

    Args:
        text: The text. `escape_mark` breaks up each special token's text that must remain ordinary text.
        has_loss: Whether its tokens carry loss.
        escape_mark: One noncharacter, or empty if nothing is escaped.
        continues: Whether the text continues the previous piece and is encoded without the dummy prefix.
    """

    text: str
    has_loss: bool
    escape_mark: str = ""
    continues: bool = False


@dataclass(frozen=True)
class CachedRender:
    """The pieces of a conversation with placeholders for its contents.

    Args:
        pieces: For each piece a format string for `str.format`, whose fields are message numbers, and its `has_loss`.
    """

    pieces: tuple[tuple[str, bool], ...]

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> "CachedRender":
        """Builds the cache from pieces whose contents are message numbers enclosed in `PLACEHOLDER`."""
        return cls(tuple((_format_string(piece.text), piece.has_loss) for piece in pieces))

    def fill(self, contents: Sequence[str]) -> list[Piece]:
        """Returns the pieces of a conversation with these message contents. Empty pieces are left out."""
        return [Piece(text, has_loss) for pattern, has_loss in self.pieces if (text := pattern.format(*contents))]


def _format_string(text: str) -> str:
    # Braces of the text itself are doubled before the placeholders become fields.
    return re.sub(f"{PLACEHOLDER}([0-9]+){PLACEHOLDER}", r"{\1}", text.replace("{", "{{").replace("}", "}}"))
