"""GPT-2's own form: `vocab.json` (piece to id) and `merges.txt` (pairs in order), byte-level."""

from pathlib import Path

from lazarus_core.bounded import read_bytes
from lazarus_core.strict_json import MalformedJson, read_object
from lazarus_tokenkit.errors import TokenizerError
from lazarus_tokenkit.tokenizers.backends.alphabet import stand_ins
from lazarus_tokenkit.tokenizers.backends.assembly import BYTE_LEVEL, bpe, tokenizer_file

VOCAB_FILE, MERGES_FILE = "vocab.json", "merges.txt"
MAX_IDS = 1 << 31
"""Ids are signed integers of 32 bits in models."""
SPECIAL_FORMS = ("<|endoftext|>", "<s>", "</s>", "<pad>", "<unk>", "<mask>")
"""Entries of such vocabularies that are no text: GPT-2's and RoBERTa's."""


def tokenizer_from_merges(vocab_path: Path, merges_path: Path) -> bytes:
    """The two files as a `tokenizer.json`.

    Raises:
        TokenizerError: Malformed files, or a vocabulary that is not byte-level.
    """
    try:
        vocab: dict[str, int] = read_object(vocab_path)
    except MalformedJson as error:
        what = "no vocabulary: " if error.fault == "type" else ""
        raise TokenizerError(f"{vocab_path} is {what or 'not JSON: '}{error.problem}", "LT-E110") from error
    if not all(type(number) is int and 0 <= number < MAX_IDS for number in vocab.values()):
        raise TokenizerError(f"{vocab_path} is no vocabulary: an object of pieces and ids below 2^31", "LT-E110")
    if missing := [letter for letter in stand_ins() if letter not in vocab]:
        raise TokenizerError(
            f"{vocab_path} is not byte-level ({len(missing)} of 256 bytes have no piece): use its tokenizer.json",
            "LT-E114",
        )
    merges = [_pair(line, f"{merges_path}:{number}") for number, line in _lines(merges_path)]
    for left, right in merges:
        for piece in (left, right, left + right):
            if piece not in vocab:
                raise TokenizerError(
                    f"{merges_path} merges {left!r} and {right!r}, but {piece!r} is no piece", "LT-E114"
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
            raise TokenizerError(f"{place}: a merge is two pieces with a space between, not {line!r}", "LT-E110")
