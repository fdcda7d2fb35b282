"""Trains a tokenizer on data files, measures it on held-out documents, and estimates time and memory."""

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
"""Every 20th document is held out for the report card."""
BYTES_PER_S = {"bpe": 4e6, "sentencepiece": 4e6, "char": 5e7}
"""Training speed. Measured on one core of 2023: the trainers need 4 to 6 s for 20 MB of text and code."""
BYTES_OF_MEMORY = {"bpe": 5, "sentencepiece": 11, "char": 1}
"""Memory a byte of text. Measured at 20 MB: 92 MB (bpe) and 221 MB (sentencepiece)."""


@dataclass(frozen=True)
class Estimate:
    """The estimated cost of a training.

    Args:
        documents: Number of training documents.
        held_out: Number of held-out documents.
        bytes: UTF-8 bytes of the training documents.
        seconds: Estimated time in s.
        memory_mb: Estimated memory in MB, in addition to that of an idle process.
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
    """Trains a tokenizer on data files and measures it on held-out documents.

    Args:
        paths: The data files. Each file is one row of the report card.
        config: Settings of a byte-level BPE or of SentencePiece. None makes a tokenizer of the characters that occur.
        fields: Names of the fields, or None for the standard names.
        name: Name of the tokenizer for messages.

    Returns:
        The tokenizer and its report card.

    Raises:
        TokenkitError: A file has no training documents, or the trainer refuses.
    """
    texts = (text for path in paths for text in _split(path, fields, is_held_out=False))
    match config:
        case BpeConfig():
            kind, tokenizer = "bpe", train_bpe(texts, config, name)
        case SentencePieceConfig():
            kind, tokenizer = "sentencepiece", train_sentencepiece(texts, config, name)
        case None:
            kind, tokenizer = "char", character_tokenizer(texts, name)
    are_named_apart = len({path.name for path in paths}) == len(paths)
    held_out = {
        utf8_name(path.name if are_named_apart else str(path)): list(_split(path, fields, is_held_out=True))
        for path in paths
    }
    members = {} if config is None else config.model_dump(mode="json")
    files = [_file(file) for path in paths for file in data_files(path)]
    return tokenizer, make_card(tokenizer, kind, members, files, held_out)


def estimate(paths: Sequence[Path], kind: Kind, fields: FieldNames | None = None) -> Estimate:
    """Estimates the cost of `train_files`. Reads the files once.

    Args:
        paths: The data files.
        kind: `bpe`, `sentencepiece` or `char`.
        fields: Names of the fields, or None for the standard names.
    """
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
            found += bool(text.strip())
            yield text
    if not found and not is_held_out:
        raise TokenkitError(f"{path} has no documents with text to train on; give more data", "LT-E803")


def _file(path: Path) -> dict[str, str | int]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"name": utf8_name(path.name), "bytes": path.stat().st_size, "sha256": digest}
