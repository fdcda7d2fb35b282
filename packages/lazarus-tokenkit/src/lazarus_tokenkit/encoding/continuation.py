"""Gives separately encoded pieces the ids that they have in the whole text.

Two rules depend on the text before a piece:

- A dummy prefix is written at the start of a text. Some tokenizers also write it after added tokens. It is never written
  between a prompt and its answer.
- An added token with `rstrip` drops the white space that follows it, even if that white space starts the next piece.

A tokenizer without a dummy prefix and without `rstrip` tokens needs no changes: `ContinuationRules.of` returns None.
"""

import re
from collections.abc import Mapping, Sequence

from lazarus_tokenkit.encoding.cached_render import Piece
from lazarus_tokenkit.tokenizers.protocol import Boundary, Tokenizer


class ContinuationRules:
    """Adjusts the pieces of one text for one tokenizer."""

    def __init__(self, continuation: Tokenizer | None, boundaries: Mapping[str, Boundary], *, strips_end: bool) -> None:
        """Compiles the search patterns of one tokenizer.

        Args:
            continuation: The tokenizer without its dummy prefix, or None if it writes none.
            boundaries: Effect of each added token on the text after it, by the token's text.
            strips_end: Whether the tokenizer drops spaces at the end of a text.
        """
        self._has_prefix = continuation is not None
        self._strips_end = strips_end
        self._boundaries = boundaries
        self._texts = tuple(sorted(boundaries, key=len, reverse=True))
        self._stripping = tuple(text for text in self._texts if boundaries[text].strips_right)
        restarting = [text for text in self._texts if boundaries[text].restarts]
        ends = [re.escape(text) + (r"\s*" if boundaries[text].strips_right else "") for text in restarting]
        self._restart = re.compile("|".join(ends) or "(?!)")

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "ContinuationRules | None":
        """Returns the rules of a tokenizer, or None if pieces can be encoded unchanged."""
        continuation, boundaries = tokenizer.continuation, tokenizer.boundaries
        if continuation is None and not any(boundary.strips_right for boundary in boundaries.values()):
            return None
        return cls(continuation, boundaries, strips_end=tokenizer.encode("a ") == tokenizer.encode("a"))

    def arrange(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Splits and marks the pieces of one text so that each continuation is encoded without a dummy prefix.

        Args:
            pieces: The pieces of one text, in order.

        Returns:
            Pieces with the same ids as the whole text. White space that the tokenizer drops is removed.
        """
        arranged: list[Piece] = []
        before = ""
        for piece in pieces:
            found = self._following(before, piece) if before else [piece]
            arranged += found
            before = piece.text if found else before
        return arranged

    def restarts_after(self, token: str) -> bool:
        """Whether the text after an added token is encoded as the start of a text."""
        return not self._has_prefix or self._boundaries[token].restarts

    def _following(self, before: str, piece: Piece) -> list[Piece]:
        """Adjusts a piece that follows non-empty text. Returns nothing if the piece is white space that is dropped."""
        boundary = self._boundary(before)
        if boundary is not None and boundary.strips_right:
            piece = piece._replace(text=piece.text.lstrip())
        if not piece.text:
            return []
        if not self._has_prefix or (boundary is not None and boundary.restarts):
            return [piece]
        # Spaces that the tokenizer dropped at the end of the previous piece are encoded with this piece.
        text = self._dropped_end(before) + piece.text
        # The piece continues the text up to its first added token that restarts encoding.
        found = None if piece.escape_mark else self._restart.search(text)
        end = found.end() if found else len(text)
        parts = [piece._replace(text=text[:end], continues=True), piece._replace(text=text[end:])]
        return [part for part in parts if part.text]

    def _boundary(self, before: str) -> Boundary | None:
        """Returns the boundary of the added token at the end of a text, or None."""
        if before.endswith(self._texts):
            return next(self._boundaries[text] for text in self._texts if before.endswith(text))
        # Trailing white space belongs to a token with `rstrip`.
        stripped = before.rstrip()
        if self._stripping and stripped.endswith(self._stripping):
            return next(self._boundaries[text] for text in self._stripping if stripped.endswith(text))
        return None

    def _dropped_end(self, before: str) -> str:
        """Returns the spaces that the tokenizer drops at the end of a text. They move to the next piece."""
        return before[len(before.rstrip(" ")) :] if self._strips_end else ""
