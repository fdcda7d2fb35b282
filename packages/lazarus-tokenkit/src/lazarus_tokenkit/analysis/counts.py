"""One pass of a tokenizer over a corpus: everything that the metrics are ratios of, document by document.

Words: N = documents, V = rows of an embedding. A *word* is a run of characters that are not white space; a *boundary* is
the first byte of a token other than a document's first. No special token is added, none is parsed: it is all text.
Costs about twice the encoding.
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
        columns: By name in `COLUMNS`, one number a document, int64 (N,). `continued_words`: words with a boundary
            inside, in their context. `unk_bytes`: bytes that `unk` stands for. `fallback_bytes`: bytes spelled as tokens
            of one byte that are no character by themselves. `fragmented_chars`: characters with a boundary inside.
            `lossless`: 1 where decoding gives the document again.
        frequencies: How often each id occurs, int64 (V,).
    """

    vocab_size: int
    columns: dict[str, NDArray[np.int64]]
    frequencies: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.columns["bytes"])

    def total(self, column: str) -> int:
        """Sum of a column."""
        return int(self.columns[column].sum())

    def rate(self, part: str, whole: str) -> float | None:
        """Ratio of the sums of two columns, or None where there is nothing to divide by."""
        return self.total(part) / self.total(whole) if self.total(whole) else None


def count_corpus(tokenizer: Tokenizer, documents: Iterable[str]) -> CorpusCounts:
    """Encodes and counts.

    >>> from lazarus_tokenkit import load_tokenizer
    >>> counts = count_corpus(load_tokenizer("byte"), ["a caf\u00e9"])
    >>> {name: counts.total(name) for name in ("bytes", "chars", "words", "tokens", "fallback_bytes")}
    {'bytes': 7, 'chars': 6, 'words': 2, 'tokens': 7, 'fallback_bytes': 2}
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
    """Which ids are one byte that is no character: `<0xNN>` pieces, and halves of characters, bool (V,)."""
    is_lone = np.zeros(tokenizer.vocab_size, dtype=np.bool_)
    pieces = {number: piece for piece, number in tokenizer.vocab.items()}
    for number, content in tokenizer.token_bytes.items():
        if len(content) == 1:
            is_lone[number] = content[0] >= 0x80 or pieces[number].startswith("<0x")
    return is_lone


def word_ids(tokenizer: Tokenizer, words: Sequence[str], *, has_space: bool) -> list[list[int]]:
    """Ids of each word as it stands in a text: behind a space, which counts, or behind a line feed, which does not.

    >>> from lazarus_tokenkit import load_tokenizer
    >>> word_ids(load_tokenizer("byte"), ["ab"], has_space=True)
    [[32, 97, 98]]

    Words alone would be measured with what some engines put in front of every text.
    """
    begin, start = ("a", 1) if has_space else ("a\n", 2)
    texts = [f"{begin} {word}" if has_space else f"{begin}{word}" for word in words]
    return [
        [number for number, end in zip(found.ids, found.ends, strict=True) if end > start]
        for found in tokenizer.segment_batch(texts, parse_special=False)
    ]


def boundaries(text: str, found: Segments) -> NDArray[np.int64]:
    """First bytes of the tokens of a text, without 0, sorted, each once."""
    starts = np.unique(np.array(found.starts, dtype=np.int64))
    return starts[starts > 0]


def word_spans(text: str) -> NDArray[np.int64]:
    """First byte and the one after the last of each word, int64 (W, 2)."""
    spans = np.array([found.span() for found in WORD.finditer(text)], dtype=np.int64).reshape(-1, 2)
    return spans if text.isascii() else byte_places(text)[spans]


def byte_places(text: str) -> NDArray[np.int64]:
    """Where each character begins in UTF-8, and where the text ends, int64 (C + 1,)."""
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    sizes = 1 + (points > 0x7F).astype(np.int64) + (points > 0x7FF) + (points > 0xFFFF)
    return np.concatenate([[0], np.cumsum(sizes)])


def _count(text: str, found: Segments, tokenizer: Tokenizer, byte_ids: NDArray[np.bool_]) -> tuple[int, ...]:
    content = np.frombuffer(text.encode(), dtype=np.uint8)
    ids = np.array(found.ids, dtype=np.int64)
    cuts = boundaries(text, found)
    words = word_spans(text)
    inside = np.searchsorted(cuts, words[:, 1], "left") > np.searchsorted(cuts, words[:, 0], "right")
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
        len(np.unique(np.cumsum(is_first)[broken])),
        int(tokenizer.decode(found.ids) == text),
    )


def chunks(documents: Iterable[str]) -> Iterator[list[str]]:
    """Documents, so many at a time."""
    iterator = iter(documents)
    while batch := list(islice(iterator, CHUNK)):
        yield batch
