"""Words that a vocabulary does badly by: those with unknown tokens, and those seen too seldom to be learnt."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lazarus_tokenkit.analysis.counts import WORD, lone_bytes, word_ids
from lazarus_tokenkit.samples.documents import as_documents
from lazarus_tokenkit.tables import aligned, percent
from lazarus_tokenkit.tokenizers.load import TokenizerOrName, opened

NUM_SHOWN = 20
RARE = 3
"""A word seen at most so often is rare."""
TOKEN_STEPS = (0, 1, 2, 3, 4, 5, 6, 8, 16)
OCCURRENCE_STEPS = (1, 2, 3, 4, 10, 100)
"""Where the ranges of the two histograms begin; the last has no end."""

Ranges = tuple[tuple[int, int | None, int], ...]
"""(first, last or None, words)."""


@dataclass(frozen=True)
class WordReport:
    """Words of a corpus.

    Args:
        words: Occurrences.
        distinct: Different words.
        oov_rate: Share of occurrences with an unknown token or bytes spelled one by one.
        oov: Such words, most frequent first.
        rare_rate: Share of the distinct words seen at most `RARE` times.
        most_split: Words of most tokens, of those not rare: text, tokens, occurrences.
        by_tokens: Different words by how many tokens they take.
        by_occurrence: Different words by how often they stand in the corpus.
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
        """As it is printed with `--json`."""
        return asdict(self)

    def text(self) -> str:
        """As it is printed for people."""
        head = aligned(
            [
                ("words", f"{self.words:,}", f"{self.distinct:,} different"),
                ("out of vocabulary", percent(self.oov_rate), " ".join(repr(word) for word, _ in self.oov[:8])),
                ("rare", percent(self.rare_rate), f"of the different words, seen at most {RARE} times"),
            ],
            right=[1],
        )
        rows = [("tokens", "occurs", "word")]
        rows += [(str(tokens), f"{count:,}", repr(word)) for word, tokens, count in self.most_split]
        return f"{head}\n\n{aligned(rows, right=[0, 1])}"


def analyze_words(tokenizer: TokenizerOrName, documents: Iterable[str]) -> WordReport:
    """The words of a corpus, each behind a space.

    >>> from lazarus_tokenkit import load_tokenizer
    >>> analyze_words(load_tokenizer("char:ab "), ["ab ac ab"]).oov
    (('ac', 1),)
    """
    tokenizer, documents = opened(tokenizer), as_documents(documents)
    counts = Counter(word for text in documents for word in WORD.findall(text))
    words = list(counts)
    found = word_ids(tokenizer, words, has_space=True)
    is_lone = lone_bytes(tokenizer)
    oov = {
        word: counts[word]
        for word, ids in zip(words, found, strict=True)
        if any(number == tokenizer.unk_id or is_lone[number] for number in ids)
    }
    total = sum(counts.values())
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
    """How many values lie in each range, up to the last that has any; 0 only where there is one."""
    places = Counter(bisect_right(steps, value) - 1 for value in values)
    ends = [*(step - 1 for step in steps[1:]), None]
    found = [(steps[place], ends[place], places[place]) for place in range(max(places, default=-1) + 1)]
    return tuple(each for each in found if each[0] or each[2])
