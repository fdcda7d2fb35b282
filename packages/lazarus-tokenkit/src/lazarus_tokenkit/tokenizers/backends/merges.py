"""Converts GPT-2's format, `vocab.json` (piece to id) with `merges.txt` (pairs in order), to a `tokenizer.json`."""

from pathlib import Path

from lazarus_core.bounded import read_bytes
from lazarus_core.strict_json import MalformedJson, read_object
from lazarus_tokenkit.errors import TokenizerError
from lazarus_tokenkit.tokenizers.backends.alphabet import byte_characters
from lazarus_tokenkit.tokenizers.backends.assembly import BYTE_LEVEL, bpe, tokenizer_file

VOCAB_FILE, MERGES_FILE = "vocab.json", "merges.txt"
MAX_IDS = 1 << 31
"""Models store ids as signed 32-bit integers."""
SPECIAL_FORMS = ("<|endoftext|>", "<s>", "</s>", "<pad>", "<unk>", "<mask>")
"""Special tokens in the vocabularies of GPT-2 and RoBERTa."""


def tokenizer_from_merges(vocab_path: Path, merges_path: Path) -> bytes:
    """Builds the contents of a `tokenizer.json` from the two files.

    Args:
        vocab_path: JSON object: piece to id.
        merges_path: One merge a line: two pieces with a space between them.

    Raises:
        TokenizerError: A file is malformed, or the vocabulary is not byte-level.
    """
    try:
        vocab: dict[str, int] = read_object(vocab_path)
    except MalformedJson as error:
        expected = "a vocabulary" if error.fault == "type" else "JSON"
        raise TokenizerError(f"{vocab_path} is not {expected}: {error.problem}", "LT-E110") from error
    if not all(type(number) is int and 0 <= number < MAX_IDS for number in vocab.values()):
        raise TokenizerError(
            f"{vocab_path} is not a vocabulary: it must be an object of pieces with ids below 2^31", "LT-E110"
        )
    if missing := [letter for letter in byte_characters() if letter not in vocab]:
        raise TokenizerError(
            f"{vocab_path} is not byte-level ({len(missing)} of 256 bytes have no piece): use its tokenizer.json",
            "LT-E114",
        )
    merges = [_pair(line, f"{merges_path}:{number}") for number, line in _lines(merges_path)]
    for left, right in merges:
        for piece in (left, right, left + right):
            if piece not in vocab:
                raise TokenizerError(
                    f"{merges_path} merges {left!r} and {right!r}, but the vocabulary lacks {piece!r}", "LT-E114"
                )
    special = {text: vocab[text] for text in SPECIAL_FORMS if text in vocab}
    pre_tokenizer = BYTE_LEVEL | {"use_regex": True}
    return tokenizer_file(bpe(vocab, merges), special, pre_tokenizer=pre_tokenizer, decoder=pre_tokenizer)


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        lines = read_bytes(path).decode().replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{path}: byte {error.start + 1} is not UTF-8; convert the file", "LT-E110") from error
    start = 1 if lines[0].startswith("#version") else 0
    return [(number, line) for number, line in enumerate(lines[start:], start + 1) if line]


def _pair(line: str, place: str) -> tuple[str, str]:
    match line.split(" "):
        case [left, right] if left and right:
            return left, right
        case _:
            raise TokenizerError(
                f"{place}: a merge must be two pieces with a space between them, not {line!r}", "LT-E110"
            )
