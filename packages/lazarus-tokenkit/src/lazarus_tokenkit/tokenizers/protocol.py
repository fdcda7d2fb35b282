"""The interface of a tokenizer. The modules in `backends` implement it.

A backend wraps one engine and one set of files. The engine's reading of these files defines the ids, even if another
library reads them differently.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol


class SpecialSpan(NamedTuple):
    """Half-open character range of a special token in a text.

    Args:
        start: First character, including white space on the left that the token strips.
        end: One after the last character, including white space on the right that the token strips.
        id: Token id.
    """

    start: int
    end: int
    id: int


class Boundary(NamedTuple):
    """Effect of an added token on the text after it.

    Args:
        restarts: Whether that text is encoded as the start of a text, with the dummy prefix if the tokenizer has one.
        strips_right: Whether white space after the token is dropped (`rstrip`).
    """

    restarts: bool
    strips_right: bool


class Segments(NamedTuple):
    """The tokens of a text with their half-open byte ranges.

    Args:
        ids: Token ids.
        starts: First byte of each token in the text's UTF-8, as exact as the engine reports it.
        ends: One after the last byte of each token.
    """

    ids: list[int]
    starts: list[int]
    ends: list[int]


class Tokenizer(Protocol):
    """Encodes text to ids and decodes ids to text."""

    @property
    def name(self) -> str:
        """Short name for messages and stored files; never a path."""
        ...

    @property
    def vocab_size(self) -> int:
        """Largest id plus 1: the number of embedding rows. Ids may have gaps."""
        ...

    @property
    def bos_id(self) -> int | None:
        """Id of the token that begins a text, or None."""
        ...

    @property
    def eos_id(self) -> int | None:
        """Id of the token that ends a text and stops generation, or None."""
        ...

    @property
    def pad_id(self) -> int | None:
        """Id of the padding token, or None."""
        ...

    @property
    def unk_id(self) -> int | None:
        """Id of the token for text that the vocabulary cannot represent, or None."""
        ...

    @property
    def adds_bos(self) -> bool:
        """Whether the engine puts `bos_id` in front when it adds special tokens, by experiment."""
        ...

    @property
    def adds_eos(self) -> bool:
        """Whether the engine appends `eos_id` when it adds special tokens, by experiment."""
        ...

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """Special tokens: text to id."""
        ...

    @property
    def vocab(self) -> Mapping[str, int]:
        """Vocabulary: piece, as written in the files, to id; ordered by id."""
        ...

    @property
    def token_bytes(self) -> Mapping[int, bytes]:
        """Id to the bytes that the token adds to a text. Ids without bytes are absent."""
        ...

    @property
    def chat_template(self) -> str | None:
        """Jinja source of the tokenizer's own chat template, or None."""
        ...

    def encode(self, text: str, *, parse_special: bool = True) -> list[int]:
        """Encodes a text. No bos or eos is added.

        Args:
            text: Any Unicode text.
            parse_special: Whether a special token's text becomes that token. True suits rendered templates. False suits
                text from users and data: special-token text is then encoded as ordinary text.
        """
        ...

    def encode_batch(self, texts: Sequence[str], *, parse_special: bool = True) -> list[list[int]]:
        """Encodes every text, on all cores.

        Args:
            texts: Any Unicode texts.
            parse_special: As in `encode`.

        Returns:
            The ids of each text, equal to those of `encode`.
        """
        ...

    def segment_batch(self, texts: Sequence[str], *, parse_special: bool = True) -> list[Segments]:
        """Encodes every text and returns the byte range of each token.

        Args:
            texts: Any Unicode texts.
            parse_special: As in `encode`.

        Returns:
            Ids and half-open byte ranges of the tokens of each text.
        """
        ...

    def decode(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        """Decodes ids to text.

        Args:
            ids: Token ids, each from 0 up to but not including `vocab_size`.
            skip_special: Whether special tokens are left out.
        """
        ...

    def special_spans(self, text: str) -> list[SpecialSpan]:
        """Returns the special tokens that `encode` finds in `text`, from left to right."""
        ...

    @property
    def continuation(self) -> "Tokenizer | None":
        """The same tokenizer without its dummy prefix, for text that continues a text. None if it writes no prefix."""
        ...

    @property
    def boundaries(self) -> Mapping[str, Boundary]:
        """Added tokens, special or not: text to the effect on the text after the token."""
        ...

    def structure(self) -> Mapping[str, Any]:
        """Returns named components as canonical JSON values, equal for all files of the same tokenizer."""
        ...

    def observe(self, probe: str) -> Any:
        """Returns the engine's output for one probe as a canonical JSON value: ids, offsets, decoded text."""
        ...

    def library(self) -> str:
        """Returns the engine and its version. A fingerprint stores them as information, not in its digest."""
        ...

    def save(self, directory: Path) -> None:
        """Writes the files. transformers and mlx-lm load them with equal ids."""
        ...


def special_text(tokenizer: Tokenizer, token_id: int | None) -> str | None:
    """Returns the text of a special token, or None.

    Args:
        tokenizer: Its special tokens are searched.
        token_id: Id of the special token, or None.
    """
    return next((text for text, known_id in tokenizer.special_tokens.items() if known_id == token_id), None)
