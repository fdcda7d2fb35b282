"""One training from data files: what is held out, what it will take, what comes of it."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lazarus_core.printable import utf8_name
from lazarus_tokenkit.errors import TokenkitError
from lazarus_tokenkit.samples.documents import read_documents
from lazarus_tokenkit.samples.files import data_files
from lazarus_tokenkit.samples.schemas import FieldNames
from lazarus_tokenkit.tokenizers.backends.character import character_tokenizer
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer
from lazarus_tokenkit.tokenizers.trainers.bpe import BpeConfig, train_bpe
from lazarus_tokenkit.tokenizers.trainers.sentencepiece import SentencePieceConfig, train_sentencepiece
from lazarus_tokenkit.training.card import ReportCard, make_card

Kind = Literal["bpe", "sentencepiece", "char"]
HELD_OUT_EVERY = 20
"""One document in so many is kept for the report card."""
BYTES_PER_S = {"bpe": 4e6, "sentencepiece": 4e6, "char": 5e7}
"""Measured on one core of 2023: 20 MB of text and code take the trainers 4 to 6 s."""
BYTES_OF_MEMORY = {"bpe": 5, "sentencepiece": 11, "char": 1}
"""A byte of text: 92 MB and 221 MB at 20 MB."""


@dataclass(frozen=True)
class Estimate:
    """What a training will take.

    Args:
        documents: To train on.
        held_out: Kept for the report card.
        bytes: To train on.
        seconds: About how long.
        memory_mb: About how much more than an idle process.
    """

    documents: int
    held_out: int
    bytes: int
    seconds: float
    memory_mb: float


def train_files(
    paths: Sequence[Path],
    config: BpeConfig | SentencePieceConfig | None,
    fields: FieldNames | None = None,
    name: str = "trained",
) -> tuple[HuggingFaceTokenizer, ReportCard]:
    """Trains on data files and measures on what was held out.

    Args:
        paths: The files; each is a domain of the report card.
        config: Of byte-level BPE or of SentencePiece; None for a tokenizer of the characters that occur.
        fields: Names of the fields, where they are not the standard ones.
        name: Of the tokenizer, for messages.
    """
    texts = (text for path in paths for text in _split(path, fields, is_held_out=False))
    match config:
        case BpeConfig():
            kind, tokenizer = "bpe", train_bpe(texts, config, name)
        case SentencePieceConfig():
            kind, tokenizer = "sentencepiece", train_sentencepiece(texts, config, name)
        case None:
            kind, tokenizer = "char", character_tokenizer(texts, name)
    held_out = {utf8_name(path.name): list(_split(path, fields, is_held_out=True)) for path in paths}
    members = {} if config is None else config.model_dump(mode="json")
    files = [_file(file) for path in paths for file in data_files(path)]
    return tokenizer, make_card(tokenizer, kind, members, files, held_out)


def estimate(paths: Sequence[Path], kind: Kind, fields: FieldNames | None = None) -> Estimate:
    """What `train_files` will take, by reading the files once."""
    documents = held_out = size = 0
    for path in paths:
        for number, text in enumerate(read_documents(path, fields)):
            if number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1:
                held_out += 1
            else:
                documents += 1
                size += len(text.encode())
    return Estimate(documents, held_out, size, size / BYTES_PER_S[kind], size * BYTES_OF_MEMORY[kind] / 1e6)


def _split(path: Path, fields: FieldNames | None, *, is_held_out: bool) -> Iterator[str]:
    found = 0
    for number, text in enumerate(read_documents(path, fields)):
        if (number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1) is is_held_out:
            found += 1
            yield text
    if not found and not is_held_out:
        raise TokenkitError(f"{path} has nothing to train on", "LT-E803")


def _file(path: Path) -> dict[str, str | int]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"name": utf8_name(path.name), "bytes": path.stat().st_size, "sha256": digest}
