"""Pieces of text that are encoded by themselves, and pieces with holes for contents: a conversation's shape, cut once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

NONCHARACTERS = tuple(map(chr, range(0xFDD0, 0xFDF0)))
"""Reserved by Unicode for internal use: no text has them."""
HOLE = NONCHARACTERS[-1]
"""Stands around the number of a content in a skeleton."""


class Piece(NamedTuple):
    """A stretch of text that is encoded by itself.

    Args:
        text: The text, with `shield` inside every special token's text that is to stay text.
        has_loss: Whether its tokens carry loss.
        shield: A noncharacter, or empty where nothing had to be shielded.
    """

    text: str
    has_loss: bool
    shield: str = ""


@dataclass(frozen=True)
class Skeleton:
    """Pieces with holes: text and the number of a content by turns, and whether the piece carries loss."""

    pieces: tuple[tuple[tuple[str | int, ...], bool], ...]

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> "Skeleton":
        cut: list[tuple[tuple[str | int, ...], bool]] = []
        for piece in pieces:
            parts = re.split(f"{HOLE}([0-9]+){HOLE}", piece.text)
            named = (int(part) if place % 2 else part for place, part in enumerate(parts))
            cut.append((tuple(part for part in named if part != ""), piece.has_loss))
        return cls(tuple(cut))

    def fill(self, contents: Sequence[str]) -> list[Piece]:
        """The pieces of a conversation with these contents."""
        pieces: list[Piece] = []
        for parts, has_loss in self.pieces:
            if text := "".join([part if isinstance(part, str) else contents[part] for part in parts]):
                pieces.append(Piece(text, has_loss))
        return pieces
