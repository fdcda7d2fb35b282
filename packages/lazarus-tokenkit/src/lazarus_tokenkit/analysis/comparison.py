"""Compares two tokenizers on one corpus: token counts, shared token boundaries, tokens by kind of character.

```
ratio = n_first / n_second      boundary F1 = 2 |both| / (|first| + |second|)      over the bytes at which tokens begin
```
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from lazarus_tokenkit.analysis.bootstrap import interval
from lazarus_tokenkit.analysis.counts import boundaries, chunks
from lazarus_tokenkit.analysis.vocabularies import distinct_names
from lazarus_tokenkit.errors import TokenkitError
from lazarus_tokenkit.samples.documents import as_documents
from lazarus_tokenkit.tables import Table, as_text, number
from lazarus_tokenkit.tokenizers.load import TokenizerOrName, as_tokenizer
from lazarus_tokenkit.tokenizers.protocol import Segments

CATEGORIES = ("letters", "digits", "punctuation", "white space", "other")
"""Kinds of the first character of a token, after leading spaces."""
_CLASSES = {"L": 0, "M": 0, "N": 1, "P": 2, "S": 2, "Z": 3}


@dataclass(frozen=True)
class Comparison:
    """The comparison of two tokenizers on a corpus.

    Args:
        names: Names of the two tokenizers.
        documents: N, number of documents.
        bytes: B, UTF-8 bytes of the corpus.
        tokens: Number of tokens of each tokenizer.
        ratio: Tokens of the first divided by tokens of the second. Below 1, the first needs fewer tokens.
        ratio_interval: 95 % bootstrap interval of the ratio over documents; None for one document.
        boundary_f1: F1 score of the token boundaries, 0 to 1. 1 means that all boundaries are equal.
        by_category: Tokens of each tokenizer by the kind of their first character.
    """

    names: tuple[str, str]
    documents: int
    bytes: int
    tokens: tuple[int, int]
    ratio: float
    ratio_interval: tuple[float, float] | None
    boundary_f1: float
    by_category: dict[str, tuple[int, int]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """Formats the result as a table."""
        return as_text(self.blocks())

    def blocks(self) -> list[Table | str]:
        """The result as tables and paragraphs."""
        first, second = self.names
        more = f"{abs(self.ratio - 1):.1%} {'more' if self.ratio > 1 else 'fewer'} tokens than {second}"
        if self.ratio_interval is None:
            spread = "1 document, so no interval"
        else:
            low, high = self.ratio_interval
            spread = f"95 % of resamples of {self.documents:,} documents: {low:.3f} to {high:.3f}"
        head = [("", first, second, "ratio")]
        rows = [("tokens", *map(number, self.tokens), number(self.ratio))]
        rows += [("bytes/token", *(number(self.bytes / count) if count else "-" for count in self.tokens), "")]
        rows += [
            (name, number(one), number(other), number(one / other) if other else "-")
            for name, (one, other) in self.by_category.items()
        ]
        summary = [
            ("ratio", f"{self.ratio:.3f}", f"{first} takes {more}  ({spread})"),
            ("boundary F1", f"{self.boundary_f1:.3f}", "1 means that all token boundaries are equal"),
        ]
        return [Table([*head, *rows], right=(1, 2, 3), has_head=True), Table(summary, right=(1,))]


def compare_tokenizers(first: TokenizerOrName, second: TokenizerOrName, documents: Iterable[str]) -> Comparison:
    """Compares two tokenizers on a corpus.

    >>> from lazarus_tokenkit import load_tokenizer
    >>> byte, char = load_tokenizer("byte"), load_tokenizer("char:")
    >>> compare_tokenizers(byte, char, ["abc", "de"]).boundary_f1
    1.0

    Args:
        first: A tokenizer, or its name or path.
        second: The other tokenizer, or its name or path.
        documents: The corpus.

    Raises:
        TokenkitError: The corpus is empty.
    """
    first, second, documents = as_tokenizer(first), as_tokenizer(second), as_documents(documents)
    lengths: list[tuple[int, int]] = []
    shared = total = size = 0
    by_category = np.zeros((len(CATEGORIES), 2), dtype=np.int64)
    for batch in chunks(documents):
        one, other = (tokenizer.segment_batch(batch, parse_special=False) for tokenizer in (first, second))
        for text, *pair in zip(batch, one, other, strict=True):
            cuts = [boundaries(each) for each in pair]
            # 2 shared / total is the harmonic mean of precision and recall of the boundaries.
            shared += len(np.intersect1d(*cuts, assume_unique=True))
            total += sum(map(len, cuts))
            size += len(text.encode())
            lengths.append((len(pair[0].ids), len(pair[1].ids)))
            for place, each in enumerate(pair):
                by_category[:, place] += categories(text, each)
    table = np.array(lengths, dtype=np.int64).reshape(-1, 2)  # (N, 2)
    if not table[:, 1].sum():
        raise TokenkitError("the corpus is empty: there are no tokens to compare; give a text", "LT-E601")
    tokens = int(table[:, 0].sum()), int(table[:, 1].sum())
    columns = {"first": table[:, 0], "second": table[:, 1]}
    many = len(table) > 1
    return Comparison(
        names=distinct_names(first, second),
        documents=len(table),
        bytes=size,
        tokens=tokens,
        ratio=tokens[0] / tokens[1],
        ratio_interval=interval(columns, lambda sums: sums["first"] / sums["second"].clip(1)) if many else None,
        boundary_f1=2 * shared / total if total else 1.0,
        by_category={
            name: (int(by_category[place, 0]), int(by_category[place, 1])) for place, name in enumerate(CATEGORIES)
        },
    )


def categories(text: str, found: Segments) -> Any:
    """Counts tokens by the kind of their first character.

    Args:
        text: The text that was encoded.
        found: Tokens of the text with their byte ranges.

    Returns:
        Counts in the order of `CATEGORIES`, int64 (5,).
    """
    content = text.encode()
    counts = np.zeros(len(CATEGORIES), dtype=np.int64)
    for start, end in zip(found.starts, found.ends, strict=True):
        piece = content[start:end].decode(errors="replace")
        words = piece.lstrip(" ") or piece  # a token of spaces only counts as white space
        counts[_category(words[:1])] += 1
    return counts


def cut_view(text: str, found: Segments, mark: str = "|") -> str:
    """Marks the token boundaries in a text. A character that spans several tokens gets no mark inside.

    >>> cut_view("hello world", Segments([1, 2], [0, 5], [5, 11]))
    'hello| world'

    Args:
        text: The text that was encoded.
        found: Tokens of the text with their byte ranges.
        mark: Text to put at each boundary.
    """
    content = text.encode()
    # Consecutive boundaries delimit the shown pieces; backslash escapes show incomplete characters.
    cuts = [0, *boundaries(found).tolist(), len(content)]
    pieces = (content[start:end] for start, end in pairwise(cuts))
    return mark.join(piece.decode(errors="backslashreplace") for piece in pieces)


def _category(letter: str) -> int:
    if letter.isspace():
        return 3  # includes "\n" and "\t", whose Unicode category is C, not Z
    return _CLASSES.get(unicodedata.category(letter)[0], 4) if letter else 4
