"""Encodes a corpus once and counts what the metrics need, document by document.

N = documents, V = embedding rows. A *word* is a run of characters other than white space. A *boundary* is the first byte
of a token, except the first token of a document. Special tokens are neither added nor parsed. Takes about twice the time
of encoding.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from lazarus_tokenkit.errors import TokenkitError
from lazarus_tokenkit.tokenizers.protocol import Segments, Tokenizer

WORD = re.compile(r"\S+")
CHUNK = 256
"""Documents encoded at a time."""
COLUMNS = (
    "bytes",
    "chars",
    "words",
    "tokens",
    "continued_words",
    "unk_tokens",
    "unk_bytes",
    "fallback_bytes",
    "fragmented_chars",
    "lossless",
)


@dataclass(frozen=True)
class CorpusCounts:
    """Counts of a corpus.

    Args:
        vocab_size: V.
        columns: Counts by name in `COLUMNS`, one number a document, int64 (N,). `continued_words`: words with a boundary
            inside. `unk_bytes`: bytes encoded as unk. `fallback_bytes`: bytes encoded as single-byte tokens that are not
            a character. `fragmented_chars`: characters with a boundary inside. `lossless`: 1 if decoding restores the
            document, else 0.
        frequencies: Number of occurrences of each id, int64 (V,).
    """

    vocab_size: int
    columns: dict[str, NDArray[np.int64]]
    frequencies: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.columns["bytes"])

    def total(self, column: str) -> int:
        """Returns the sum of a column."""
        return int(self.columns[column].sum())

    def rate(self, part: str, whole: str) -> float | None:
        """Returns the ratio of the sums of two columns, or None if the divisor is 0.

        Args:
            part: Name of the column for the dividend.
            whole: Name of the column for the divisor.
        """
        return self.total(part) / self.total(whole) if self.total(whole) else None


def count_corpus(tokenizer: Tokenizer, documents: Iterable[str]) -> CorpusCounts:
    """Encodes a corpus and counts.

    >>> from lazarus_tokenkit import load_tokenizer
    >>> counts = count_corpus(load_tokenizer("byte"), ["a caf\u00e9"])
    >>> {name: counts.total(name) for name in ("bytes", "chars", "words", "tokens", "fallback_bytes")}
    {'bytes': 7, 'chars': 6, 'words': 2, 'tokens': 7, 'fallback_bytes': 2}

    Args:
        tokenizer: The tokenizer to encode with.
        documents: Texts of the corpus.

    Raises:
        TokenkitError: The corpus is empty.
    """
    byte_ids = lone_bytes(tokenizer)
    frequencies = np.zeros(tokenizer.vocab_size, dtype=np.int64)
    rows: list[tuple[int, ...]] = []
    for batch in chunks(documents):
        for text, found in zip(batch, tokenizer.segment_batch(batch, parse_special=False), strict=True):
            rows.append(_count(text, found, tokenizer, byte_ids))
            frequencies += np.bincount(np.array(found.ids, dtype=np.int64), minlength=len(frequencies))
    if not rows:
        raise TokenkitError("the corpus is empty: no documents to analyse", "LT-E601")
    table = np.array(rows, dtype=np.int64)
    return CorpusCounts(
        tokenizer.vocab_size, {name: table[:, place] for place, name in enumerate(COLUMNS)}, frequencies
    )


def lone_bytes(tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """Returns a mask of the ids that are a single byte and not a character, such as `<0xNN>` pieces; bool (V,)."""
    is_lone = np.zeros(tokenizer.vocab_size, dtype=np.bool_)
    pieces = {number: piece for piece, number in tokenizer.vocab.items()}
    for number, content in tokenizer.token_bytes.items():
        if len(content) == 1:  # ASCII bytes are characters, unless the piece is written as a byte
            is_lone[number] = content[0] >= 0x80 or pieces[number].startswith("<0x")
    return is_lone


def word_ids(tokenizer: Tokenizer, words: Sequence[str], *, has_space: bool) -> list[list[int]]:
    """Encodes words as they occur in a text: after a space or after a line feed.

    >>> from lazarus_tokenkit import load_tokenizer
    >>> word_ids(load_tokenizer("byte"), ["ab"], has_space=True)
    [[32, 97, 98]]

    A word alone would include the dummy prefix that some tokenizers write before every text.

    Args:
        tokenizer: The tokenizer to encode with.
        words: Words without white space.
        has_space: Whether the word follows a space. The space then belongs to the word's tokens. Otherwise the word
            follows a line feed, which does not count.
    """
    # The word follows "a " or "a\n". Tokens that end after byte `start` belong to the word.
    begin, start = ("a", 1) if has_space else ("a\n", 2)
    texts = [f"{begin} {word}" if has_space else f"{begin}{word}" for word in words]
    return [
        [number for number, end in zip(found.ids, found.ends, strict=True) if end > start]
        for found in tokenizer.segment_batch(texts, parse_special=False)
    ]


def boundaries(found: Segments) -> NDArray[np.int64]:
    """Returns the distinct first bytes of a text's tokens, sorted, without 0."""
    starts = np.unique(np.array(found.starts, dtype=np.int64))
    return starts[starts > 0]


def word_spans(text: str) -> NDArray[np.int64]:
    """Returns the half-open byte range of each word, int64 (W, 2)."""
    spans = np.array([found.span() for found in WORD.finditer(text)], dtype=np.int64).reshape(-1, 2)
    return spans if text.isascii() else byte_places(text)[spans]


def byte_places(text: str) -> NDArray[np.int64]:
    """Returns the UTF-8 offset of each character and of the text's end, int64 (C + 1,)."""
    # A code point takes 1, 2, 3 or 4 bytes: one more from 0x80, 0x800 and 0x10000 on.
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    sizes = 1 + (points > 0x7F).astype(np.int64) + (points > 0x7FF) + (points > 0xFFFF)
    return np.concatenate([[0], np.cumsum(sizes)])


def _count(text: str, found: Segments, tokenizer: Tokenizer, byte_ids: NDArray[np.bool_]) -> tuple[int, ...]:
    content = np.frombuffer(text.encode(), dtype=np.uint8)
    ids = np.array(found.ids, dtype=np.int64)
    cuts = boundaries(found)
    words = word_spans(text)
    # A word is continued if a boundary lies strictly between its first byte and its end.
    inside = np.searchsorted(cuts, words[:, 1], "left") > np.searchsorted(cuts, words[:, 0], "right")
    # UTF-8 continuation bytes are 0b10xxxxxx. A boundary at such a byte splits a character.
    is_first = (content & 0xC0) != 0x80
    broken = cuts[~is_first[cuts]] if len(cuts) else cuts
    is_unk = ids == (-1 if tokenizer.unk_id is None else tokenizer.unk_id)
    sizes = np.array(found.ends, dtype=np.int64) - np.array(found.starts, dtype=np.int64)
    return (
        len(content),
        len(text),
        len(words),
        len(ids),
        int(inside.sum()),
        int(is_unk.sum()),
        int(sizes[is_unk].sum()),
        int(byte_ids[ids].sum()),
        len(np.unique(np.cumsum(is_first)[broken])),  # the running count of first bytes numbers the characters
        int(tokenizer.decode(found.ids) == text),
    )


def chunks(documents: Iterable[str]) -> Iterator[list[str]]:
    """Yields lists of `CHUNK` documents."""
    iterator = iter(documents)
    while batch := list(islice(iterator, CHUNK)):
        yield batch
