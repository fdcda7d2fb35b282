"""What the rest of Lazarus asks of a tokenizer; `backends` holds what answers.

A backend wraps one engine and one set of files. Its truth are those files as the engine reads them, not what another
library would make of them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol


class SpecialSpan(NamedTuple):
    """Where a special token stands in a text.

    Args:
        start: First character, including white space that the token swallows on its left.
        end: Character after the last, including white space that the token swallows on its right.
        id: Its id.
    """

    start: int
    end: int
    id: int


class Boundary(NamedTuple):
    """What an added token does to the text behind it.

    Args:
        restarts: Whether that text is encoded as the start of a text, with the dummy prefix if there is one.
        swallows: Whether white space behind the token is dropped (`rstrip`).
    """

    restarts: bool
    swallows: bool


class Segments(NamedTuple):
    """A text, cut into its tokens.

    Args:
        ids: Token ids.
        starts: First byte of each token in the text's UTF-8, as far as the engine tells.
        ends: Byte after the last of each.
    """

    ids: list[int]
    starts: list[int]
    ends: list[int]


class Tokenizer(Protocol):
    """Text to ids and back."""

    @property
    def name(self) -> str:
        """Short name for messages and receipts; never a path."""
        ...

    @property
    def vocab_size(self) -> int:
        """Largest id + 1: the rows that an embedding needs. Ids may have gaps."""
        ...

    @property
    def bos_id(self) -> int | None:
        """Begins a text."""
        ...

    @property
    def eos_id(self) -> int | None:
        """Ends a text; generation stops at it."""
        ...

    @property
    def pad_id(self) -> int | None:
        """Fills rows."""
        ...

    @property
    def unk_id(self) -> int | None:
        """Stands for what the vocabulary cannot spell."""
        ...

    @property
    def adds_bos(self) -> bool:
        """Whether the engine, asked for special tokens, really puts `bos_id` in front."""
        ...

    @property
    def adds_eos(self) -> bool:
        """Whether the engine, asked for special tokens, really puts `eos_id` behind."""
        ...

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """Text to id of every special token."""
        ...

    @property
    def vocab(self) -> Mapping[str, int]:
        """Piece, as the files spell it, to id; in the order of ids."""
        ...

    @property
    def token_bytes(self) -> Mapping[int, bytes]:
        """Id to the bytes that it adds to a text, as far as it has such."""
        ...

    @property
    def chat_template(self) -> str | None:
        """The tokenizer's own Jinja source."""
        ...

    def encode(self, text: str, *, parse_special: bool = True) -> list[int]:
        """Ids of `text`, without bos or eos.

        Args:
            text: Any Unicode text.
            parse_special: Whether the text of a special token becomes that token (True: templates) or is spelled out
                like any other text (False: what people wrote).
        """
        ...

    def encode_batch(self, texts: Sequence[str], *, parse_special: bool = True) -> list[list[int]]:
        """`encode` of every text, on all cores."""
        ...

    def segment_batch(self, texts: Sequence[str], *, parse_special: bool = True) -> list[Segments]:
        """`encode_batch` with the bytes that each token stands for."""
        ...

    def decode(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        """Text of `ids`."""
        ...

    def special_spans(self, text: str) -> list[SpecialSpan]:
        """The special tokens that `encode` finds in `text`, from left to right."""
        ...

    @property
    def continuation(self) -> "Tokenizer | None":
        """Encodes text that continues a text: without the dummy prefix. None if the tokenizer writes no such prefix."""
        ...

    @property
    def boundaries(self) -> Mapping[str, Boundary]:
        """Text of every added token, special or not, to what it does to the text behind it."""
        ...

    def structure(self) -> Mapping[str, Any]:
        """Named components as canonical JSON values, the same for every spelling of the same tokenizer."""
        ...

    def observe(self, probe: str) -> Any:
        """What the engine makes of one probe, as a canonical JSON value: ids, offsets, decoded text."""
        ...

    def library(self) -> str:
        """Engine and version: information that stands beside a fingerprint, never in it."""
        ...

    def save(self, directory: Path) -> None:
        """Writes the files so that transformers and mlx-lm open them with equal ids."""
        ...


def special_text(tokenizer: Tokenizer, token_id: int | None) -> str | None:
    """The text of a special token."""
    return next((text for text, known_id in tokenizer.special_tokens.items() if known_id == token_id), None)
