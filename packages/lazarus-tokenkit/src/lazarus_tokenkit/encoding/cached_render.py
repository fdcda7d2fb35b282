"""Pieces of text that are encoded by themselves, and pieces with holes for contents: a conversation's shape, cut once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

NONCHARACTERS = tuple(map(chr, range(0xFDD0, 0xFDF0)))
"""Reserved by Unicode for internal use: no text has them."""
HOLE = NONCHARACTERS[-3]
"""Stands around the number of a content in a skeleton; the two behind it mark `{% generation %}` blocks."""


class Piece(NamedTuple):
    """A stretch of text that is encoded by itself.

    Args:
        text: The text, with `shield` inside every special token's text that is to stay text.
        has_loss: Whether its tokens carry loss.
        shield: A noncharacter, or empty where nothing had to be shielded.
        continues: Whether the text is encoded without the tokenizer's dummy prefix, as the text before it goes on.
    """

    text: str
    has_loss: bool
    shield: str = ""
    continues: bool = False


@dataclass(frozen=True)
class Skeleton:
    """Pieces with holes: texts for `str.format`, with the numbers of contents, and whether each carries loss."""

    pieces: tuple[tuple[str, bool], ...]

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> "Skeleton":
        """Pieces in which `HOLE` stands around the number of each content."""
        return cls(tuple((_form(piece.text), piece.has_loss) for piece in pieces))

    def fill(self, contents: Sequence[str]) -> list[Piece]:
        """The pieces of a conversation with these contents."""
        return [Piece(text, has_loss) for form, has_loss in self.pieces if (text := form.format(*contents))]


def _form(text: str) -> str:
    return re.sub(f"{HOLE}([0-9]+){HOLE}", r"{\1}", text.replace("{", "{{").replace("}", "}}"))
