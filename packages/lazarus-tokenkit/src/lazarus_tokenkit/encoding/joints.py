"""Makes pieces that are encoded one by one get the ids that they have in the whole text.

Two things depend on what comes before a piece. A dummy prefix is written at the start of a text, and by some tokenizers
behind added tokens too, but never between a prompt and its answer. An added token with `rstrip` drops the white space
behind it, also when a piece ends there. A tokenizer that has neither needs no changes, and `Joints.of` gives None.
"""

import re
from collections.abc import Mapping, Sequence

from lazarus_tokenkit.encoding.cached_render import Piece
from lazarus_tokenkit.tokenizers.protocol import Boundary, Tokenizer


class Joints:
    """The rules of one tokenizer for pieces that follow each other."""

    def __init__(self, continuation: Tokenizer | None, boundaries: Mapping[str, Boundary], *, strips_end: bool) -> None:
        self._has_prefix = continuation is not None
        self._strips_end = strips_end
        self._boundaries = boundaries
        self._texts = tuple(sorted(boundaries, key=len, reverse=True))
        self._swallowing = tuple(text for text in self._texts if boundaries[text].swallows)
        restarting = [text for text in self._texts if boundaries[text].restarts]
        ends = [re.escape(text) + (r"\s*" if boundaries[text].swallows else "") for text in restarting]
        self._restart = re.compile("|".join(ends) or "(?!)")

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "Joints | None":
        """The rules of a tokenizer, or None if pieces can be encoded as they are."""
        continuation, boundaries = tokenizer.continuation, tokenizer.boundaries
        if continuation is None and not any(boundary.swallows for boundary in boundaries.values()):
            return None
        return cls(continuation, boundaries, strips_end=tokenizer.encode("a ") == tokenizer.encode("a"))

    def arrange(self, pieces: Sequence[Piece]) -> list[Piece]:
        """The pieces of one text, with what continues the text before it marked and split off."""
        arranged: list[Piece] = []
        before = ""
        for piece in pieces:
            found = self._following(before, piece) if before else [piece]
            arranged += found
            before = piece.text if found else before
        return arranged

    def restarts_behind(self, token: str) -> bool:
        """Whether the text behind an added token is encoded as the start of a text."""
        return not self._has_prefix or self._boundaries[token].restarts

    def _following(self, before: str, piece: Piece) -> list[Piece]:
        """A piece behind a text that is not empty; nothing if its white space is dropped and it has no more."""
        boundary = self._boundary(before)
        if boundary is not None and boundary.swallows:
            piece = piece._replace(text=piece.text.lstrip())
        if not piece.text:
            return []
        if not self._has_prefix or (boundary is not None and boundary.restarts):
            return [piece]
        text = self._dropped_end(before) + piece.text
        found = None if piece.shield else self._restart.search(text)
        end = found.end() if found else len(text)
        parts = [piece._replace(text=text[:end], continues=True), piece._replace(text=text[end:])]
        return [part for part in parts if part.text]

    def _boundary(self, before: str) -> Boundary | None:
        """Of the added token that a text ends with, if it ends with one."""
        if before.endswith(self._texts):
            return next(self._boundaries[text] for text in self._texts if before.endswith(text))
        stripped = before.rstrip()
        if self._swallowing and stripped.endswith(self._swallowing):
            return next(self._boundaries[text] for text in self._swallowing if stripped.endswith(text))
        return None

    def _dropped_end(self, before: str) -> str:
        """Spaces that the tokenizer drops at the end of a text; they belong to what continues it."""
        return before[len(before.rstrip(" ")) :] if self._strips_end else ""
