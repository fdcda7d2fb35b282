"""Finds words that a vocabulary represents badly: unknown, rare, or split into many tokens."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lazarus_tokenkit.analysis.counts import WORD, lone_bytes, word_ids
from lazarus_tokenkit.samples.documents import as_documents
from lazarus_tokenkit.tables import Table, as_text, percent
from lazarus_tokenkit.tokenizers.load import TokenizerOrName, as_tokenizer

NUM_SHOWN = 20
RARE = 3
"""A word with at most this many occurrences is rare."""
TOKEN_STEPS = (0, 1, 2, 3, 4, 5, 6, 8, 16)
OCCURRENCE_STEPS = (1, 2, 3, 4, 10, 100)
"""Starts of the ranges of the two histograms. The last range is open."""

Ranges = tuple[tuple[int, int | None, int], ...]
"""(first, last or None, words)."""


@dataclass(frozen=True)
class WordReport:
    """Words of a corpus.

    Args:
        words: Number of word occurrences.
        distinct: Number of distinct words.
        oov_rate: Share of occurrences with unk or single-byte tokens, 0 to 1; None without words.
        oov: The most frequent such words, each with its occurrences.
        rare_rate: Share of distinct words with at most `RARE` occurrences, 0 to 1; None without words.
        most_split: The words with most tokens, without rare words: text, tokens, occurrences.
        by_tokens: Histogram of distinct words by number of tokens.
        by_occurrence: Histogram of distinct words by number of occurrences.
    """

    words: int
    distinct: int
    oov_rate: float | None
    oov: tuple[tuple[str, int], ...]
    rare_rate: float | None
    most_split: tuple[tuple[str, int, int], ...]
    by_tokens: Ranges
    by_occurrence: Ranges

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """Formats the result as a table."""
        return as_text(self.blocks())

    def blocks(self) -> list[Table | str]:
        """The result as tables and paragraphs."""
        head = [
            ("words", f"{self.words:,}", f"{self.distinct:,} distinct"),
            ("out of vocabulary", percent(self.oov_rate), " ".join(repr(word) for word, _ in self.oov[:8])),
            ("rare", percent(self.rare_rate), f"of the distinct words, with at most {RARE} occurrences"),
        ]
        rows = [("tokens", "occurs", "word")]
        rows += [(str(tokens), f"{count:,}", repr(word)) for word, tokens, count in self.most_split]
        return [Table(head, right=(1,)), Table(rows, right=(0, 1), has_head=True)]


def analyze_words(tokenizer: TokenizerOrName, documents: Iterable[str]) -> WordReport:
    """Analyses the words of a corpus, each encoded after a space.

    >>> from lazarus_tokenkit import load_tokenizer
    >>> analyze_words(load_tokenizer("char:ab "), ["ab ac ab"]).oov
    (('ac', 1),)

    Args:
        tokenizer: A tokenizer, or its name or path.
        documents: The corpus.
    """
    tokenizer, documents = as_tokenizer(tokenizer), as_documents(documents)
    counts = Counter(word for text in documents for word in WORD.findall(text))
    words = list(counts)
    found = word_ids(tokenizer, words, has_space=True)
    is_lone = lone_bytes(tokenizer)
    # A word counts as unknown if one of its tokens is unk or a byte that is not a character.
    oov = {
        word: counts[word]
        for word, ids in zip(words, found, strict=True)
        if any(number == tokenizer.unk_id or is_lone[number] for number in ids)
    }
    total = sum(counts.values())
    # Only words that are not rare are listed.
    split = [(word, len(ids), counts[word]) for word, ids in zip(words, found, strict=True) if counts[word] > RARE]
    split.sort(key=lambda each: (-each[1], -each[2], each[0]))
    return WordReport(
        words=total,
        distinct=len(counts),
        oov_rate=sum(oov.values()) / total if total else None,
        oov=tuple(sorted(oov.items(), key=lambda each: (-each[1], each[0]))[:NUM_SHOWN]),
        rare_rate=sum(count <= RARE for count in counts.values()) / len(counts) if counts else None,
        most_split=tuple(split[:NUM_SHOWN]),
        by_tokens=_ranges(map(len, found), TOKEN_STEPS),
        by_occurrence=_ranges(counts.values(), OCCURRENCE_STEPS),
    )


def _ranges(values: Iterable[int], steps: Sequence[int]) -> Ranges:
    """Counts the values in each range, up to the last non-empty one. A range that starts at 0 is left out if empty."""
    # `bisect_right - 1` is the index of the last start that is at most the value.
    places = Counter(bisect_right(steps, value) - 1 for value in values)
    ends = [*(step - 1 for step in steps[1:]), None]
    found = [(steps[place], ends[place], places[place]) for place in range(max(places, default=-1) + 1)]
    return tuple(each for each in found if each[0] or each[2])
