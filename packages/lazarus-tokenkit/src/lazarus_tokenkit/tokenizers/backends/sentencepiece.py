"""Reads SentencePiece `.model` files without the library and converts them to a `tokenizer.json` with the same ids.

The format is sentencepiece_model.proto of google/sentencepiece. Only fields that affect ids are read: two files that
differ in the path of their training data give the same tokenizer.
"""

import base64
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from lazarus_tokenkit.errors import TokenizerError
from lazarus_tokenkit.tokenizers.backends.assembly import begins_with, bpe, tokenizer_file
from lazarus_tokenkit.tokenizers.backends.protobuf import Value, read_fields

JSON = dict[str, Any]
MAX_WORK = 1_000_000_000
"""Limit on the work of splitting every piece at every position, in copied characters: about 1 s. Gemma's 262,144 pieces
need 60 million."""
SPACE = "\u2581"
"""Represents a space inside pieces."""


class PieceType(IntEnum):
    """Type of a piece (`ModelProto.SentencePiece.Type`)."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


UNIGRAM, BPE, WORD, CHAR = 1, 2, 3, 4
"""`TrainerSpec.ModelType`."""


@dataclass(frozen=True)
class SentencePieceModel:
    """The fields of a model file that affect ids.

    Args:
        pieces: Text, score and type of each piece, indexed by id.
        model_type: `UNIGRAM`, `BPE`, `WORD` or `CHAR`.
        byte_fallback: Whether unknown characters are encoded as bytes.
        ids: Ids of bos, eos, pad and unk; None for an absent one.
        charsmap: The compiled normalization rules, or empty.
        add_dummy_prefix: Whether a space is put before every text.
        remove_extra_whitespaces: Whether runs of spaces become one space and outer spaces are removed.
    """

    pieces: tuple[tuple[str, float, PieceType], ...]
    model_type: int
    byte_fallback: bool
    ids: dict[str, int | None]
    charsmap: bytes
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool

    @classmethod
    def parse(cls, content: bytes, name: str) -> "SentencePieceModel":
        """Parses a model file.

        Args:
            content: The file's bytes.
            name: Name of the tokenizer for messages.

        Raises:
            TokenizerError: The content is not a SentencePiece model, or its type is not supported.
        """
        try:
            pieces, trainer, normalizer = _sections(content)
            charsmap = normalizer.get(2, b"")
            if not isinstance(charsmap, bytes):
                raise ValueError("field 2 of the normalizer is a number, not bytes")
        except (ValueError, UnicodeDecodeError, struct.error, TypeError) as error:
            raise TokenizerError(f"`{name}` is not a SentencePiece model: {error}", "LT-E110") from error
        if not pieces:
            raise TokenizerError(f"`{name}` is not a SentencePiece model: it has no pieces", "LT-E110")
        # Field numbers and defaults are those of TrainerSpec and NormalizerSpec in the .proto file.
        model_type = trainer.get(3, UNIGRAM)
        if model_type == WORD or not isinstance(model_type, int):
            raise TokenizerError(
                f"`{name}` is a SentencePiece word model; BPE, unigram and char models are supported", "LT-E115"
            )
        if normalizer.get(5, 1) != 1 or trainer.get(24, 0) != 0:
            raise TokenizerError(
                f"`{name}` treats white space as a suffix or does not escape it, which is not supported", "LT-E115"
            )
        return cls(
            pieces=pieces,
            model_type=model_type,
            byte_fallback=bool(trainer.get(35, 0)),
            ids=_role_ids(trainer, pieces),
            charsmap=charsmap,
            add_dummy_prefix=bool(normalizer.get(3, 1)),
            remove_extra_whitespaces=bool(normalizer.get(4, 1)),
        )

    @property
    def roles(self) -> dict[str, str | None]:
        """Texts of bos, eos, pad and unk; None for an absent one."""
        return {role: None if number is None else self.pieces[number][0] for role, number in self.ids.items()}

    def tokenizer_file(self, *, add_bos: bool = False, add_eos: bool = False) -> bytes:
        """Converts the model to the contents of a `tokenizer.json`.

        Args:
            add_bos: Whether encoding with special tokens puts bos first. The model file has no such field.
            add_eos: Whether encoding with special tokens puts eos last.
        """
        special, user = self._of(PieceType.CONTROL, PieceType.UNKNOWN), self._of(PieceType.USER_DEFINED)
        roles = self.roles
        bos, eos = (roles["bos"] if add_bos else None), (roles["eos"] if add_eos else None)
        return tokenizer_file(
            self._unigram() if self.model_type == UNIGRAM else self._bpe(),
            special,
            user_tokens=user,
            normalizer=self._normalizer(),
            post_processor=begins_with(bos, self.ids["bos"], eos, self.ids["eos"]),
            decoder=self._decoder(),
        )

    def _of(self, *types: PieceType) -> dict[str, int]:
        return {text: number for number, (text, _, kind) in enumerate(self.pieces) if kind in types}

    def _bpe(self) -> JSON:
        vocab = {text: number for number, (text, _, _) in enumerate(self.pieces)}
        merges = [] if self.model_type == CHAR else list(_merges(self.pieces))
        unk = self.roles["unk"]
        return bpe(vocab, merges, unk_token=unk, fuse_unk=True, byte_fallback=self.byte_fallback)

    def _unigram(self) -> JSON:
        # The low score keeps unused pieces out of every encoding. Unlike SentencePiece, the engine also matches the text
        # of control and byte pieces; it has no setting against it, and `doctor` reports it (D16).
        scores = [[text, score if kind != PieceType.UNUSED else -1e9] for text, score, kind in self.pieces]
        return {"type": "Unigram", "unk_id": self.ids["unk"], "vocab": scores, "byte_fallback": self.byte_fallback}

    def _normalizer(self) -> JSON | None:
        steps: list[JSON] = []
        if self.charsmap:
            steps.append({"type": "Precompiled", "precompiled_charsmap": base64.b64encode(self.charsmap).decode()})
        if self.remove_extra_whitespaces:  # outer spaces are removed, then inner runs become one space
            steps += [_replace({"Regex": rf"\A +|[ {SPACE}]+\z"}, ""), _replace({"Regex": " {2,}"}, " ")]
        if self.add_dummy_prefix:
            steps.append({"type": "Prepend", "prepend": SPACE})
        steps.append(_replace({"String": " "}, SPACE))
        return {"type": "Sequence", "normalizers": steps}

    def _decoder(self) -> JSON:
        steps = [_replace({"String": SPACE}, " "), {"type": "ByteFallback"}, {"type": "Fuse"}]
        if self.add_dummy_prefix:
            steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
        return {"type": "Sequence", "decoders": steps}


def _replace(pattern: JSON, content: str) -> JSON:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _merges(pieces: tuple[tuple[str, float, PieceType], ...]) -> Iterator[tuple[str, str]]:
    """Yields every split of a piece into two pieces, best score first, as SentencePiece looks up joined pieces."""
    # `tokenizers` needs explicit merges. SentencePiece merges any two pieces whose concatenation is a piece.
    mergeable = {PieceType.NORMAL, PieceType.USER_DEFINED, PieceType.UNUSED}
    scores = {text: score for text, score, kind in pieces if kind in mergeable}
    for text in sorted(scores, key=lambda text: -scores[text]):
        for cut in range(len(text) - 1, 0, -1):
            if text[:cut] in scores and text[cut:] in scores:
                yield text[:cut], text[cut:]


def _sections(
    content: bytes,
) -> tuple[tuple[tuple[str, float, PieceType], ...], dict[int, Value], dict[int, Value]]:
    pieces: list[tuple[str, float, PieceType]] = []
    specs: dict[int, dict[int, Value]] = {2: {}, 3: {}}
    work = 0
    for number, value in read_fields(content):
        if not isinstance(value, bytes):
            raise ValueError(f"field {number} is not a message")
        if number == 1:  # a piece; fields 2 and 3 are the trainer's and the normalizer's settings
            pieces.append(_piece(dict(read_fields(value))))
            work += len(value) ** 2
            if work > MAX_WORK:
                raise ValueError(f"its pieces are too long: the squares of their sizes sum to more than {MAX_WORK:,}")
        elif number in specs:
            specs[number] = dict(read_fields(value))
    return tuple(pieces), specs[2], specs[3]


def _piece(members: dict[int, Value]) -> tuple[str, float, PieceType]:
    text, score, kind = members.get(1), members.get(2, b"\0\0\0\0"), members.get(3, 1)
    if not (isinstance(text, bytes) and isinstance(score, bytes) and isinstance(kind, int)):
        raise ValueError("a piece has fields of the wrong types")
    value: float = struct.unpack("<f", score)[0]
    if not math.isfinite(value):
        raise ValueError(f"the score of piece {text[:40]!r} is {value}")
    return text.decode(), value, PieceType(kind)


def _role_ids(trainer: dict[int, Value], pieces: tuple[tuple[str, float, PieceType], ...]) -> dict[str, int | None]:
    """Returns the ids of the roles: unk by the type of the piece, the others by the trainer's fields 41 to 43."""
    unk = next((number for number, piece in enumerate(pieces) if piece[2] == PieceType.UNKNOWN), None)
    ids: dict[str, int | None] = {}
    for role, member, default in (("bos", 41, 1), ("eos", 42, 2), ("pad", 43, -1)):  # field numbers and defaults
        number = trainer.get(member, default)
        is_there = isinstance(number, int) and 0 <= number < len(pieces) and pieces[number][2] == PieceType.CONTROL
        ids[role] = number if is_there and isinstance(number, int) else None
    return ids | {"unk": unk}
