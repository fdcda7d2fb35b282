"""Coverage: how much text a token carries, how words and characters break, and what is lost.

```
bytes/token = B/n      chars/token = C/n      fertility = n/W      PCW = words with a boundary inside / W
unk rate = unk/n       byte fallback = bytes in tokens of one byte that are no character / B
fragmented = characters with a boundary inside / C                 lossless = documents that decode to themselves / N
STRR = share of the corpus's distinct words that are one token, with and without a space in front (arXiv 2510.09947)
```
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lazarus_tokenkit.analysis.bootstrap import Sums, interval
from lazarus_tokenkit.analysis.counts import WORD, CorpusCounts, count_corpus, word_ids
from lazarus_tokenkit.samples.documents import as_documents
from lazarus_tokenkit.tables import aligned, number, percent
from lazarus_tokenkit.tokenizers.load import TokenizerOrName, opened
from lazarus_tokenkit.tokenizers.protocol import Tokenizer

MAX_WORDS = 50_000
"""Distinct words that STRR looks at: the first so many; the rate settles well before."""


@dataclass(frozen=True)
class Coverage:
    """Rates of a corpus; None where there is nothing to divide by.

    Args:
        documents: N.
        bytes: B, of UTF-8.
        chars: C.
        words: W.
        tokens: n, without special tokens.
        bytes_per_token: B/n.
        bytes_per_token_interval: Where 95 % of resamples of the documents put it; None for one document.
        chars_per_token: C/n.
        fertility: n/W.
        continued_word_rate: PCW.
        single_token_words: STRR with a space in front.
        single_token_words_bare: STRR without.
        unk_rate: Unknown tokens of n.
        byte_fallback_rate: Of B.
        fragmented_char_rate: Of C.
        lossless_rate: Of N.
    """

    documents: int
    bytes: int
    chars: int
    words: int
    tokens: int
    bytes_per_token: float | None
    bytes_per_token_interval: tuple[float, float] | None
    chars_per_token: float | None
    fertility: float | None
    continued_word_rate: float | None
    single_token_words: float | None
    single_token_words_bare: float | None
    unk_rate: float | None
    byte_fallback_rate: float | None
    fragmented_char_rate: float | None
    lossless_rate: float | None

    def to_json(self) -> dict[str, Any]:
        """As it is printed with `--json`."""
        return asdict(self)

    def text(self) -> str:
        """As it is printed for people."""
        low, high = self.bytes_per_token_interval or (None, None)
        spread = f"95 % of resamples: {number(low)} to {number(high)}" if low is not None else ""
        return aligned(
            [
                ("documents", number(self.documents), f"{self.bytes:,} bytes, {self.chars:,} characters"),
                ("tokens", number(self.tokens), f"{self.words:,} words between white space"),
                ("bytes/token", number(self.bytes_per_token), spread),
                ("chars/token", number(self.chars_per_token), ""),
                ("fertility", number(self.fertility), "tokens a word"),
                ("continued words", percent(self.continued_word_rate), "words of several tokens, in their context"),
                ("words kept whole", percent(self.single_token_words), "of the distinct words, with a space in front"),
                ("", percent(self.single_token_words_bare), "without"),
                ("unknown", percent(self.unk_rate), "tokens that stand for what the vocabulary lacks"),
                ("byte fallback", percent(self.byte_fallback_rate), "bytes spelled one by one"),
                ("fragmented", percent(self.fragmented_char_rate), "characters broken over tokens"),
                ("lossless", percent(self.lossless_rate), "documents that decode to themselves"),
            ],
            right=[1],
        )


@dataclass(frozen=True)
class CoverageByFile:
    """Coverage of each of several files.

    Args:
        files: By name.
        worst_group_ratio: Bytes a token of the worst over those of the best.
    """

    files: dict[str, Coverage]
    worst_group_ratio: float | None

    def to_json(self) -> dict[str, Any]:
        """As it is printed with `--json`."""
        return asdict(self)

    def text(self) -> str:
        """As it is printed for people."""
        ratio = self.worst_group_ratio
        last = "no tokens" if ratio is None else f"worst file against the best, bytes a token: {ratio:.3f}"
        return "\n".join([*(f"{name}\n{each.text()}\n" for name, each in self.files.items()), last])


def analyze_coverage(tokenizer: TokenizerOrName, documents: Iterable[str]) -> Coverage:
    """Coverage of a corpus.

    >>> from lazarus_tokenkit import load_tokenizer
    >>> coverage = analyze_coverage(load_tokenizer("byte"), ["one two"])
    >>> coverage.bytes_per_token, coverage.fertility, coverage.continued_word_rate
    (1.0, 3.5, 1.0)
    """
    tokenizer, documents = opened(tokenizer), list(as_documents(documents))
    return coverage_of(count_corpus(tokenizer, documents), *single_token_rates(tokenizer, documents))


def coverage_of(counts: CorpusCounts, whole: float | None = None, bare: float | None = None) -> Coverage:
    """Coverage from counts; `whole` and `bare` are the single-token rates, where they were taken."""
    columns = {name: counts.columns[name] for name in ("bytes", "tokens")}
    return Coverage(
        documents=len(counts),
        bytes=counts.total("bytes"),
        chars=counts.total("chars"),
        words=counts.total("words"),
        tokens=counts.total("tokens"),
        bytes_per_token=counts.rate("bytes", "tokens"),
        bytes_per_token_interval=interval(columns, _bytes_per_token) if len(counts) > 1 else None,
        chars_per_token=counts.rate("chars", "tokens"),
        fertility=counts.rate("tokens", "words"),
        continued_word_rate=counts.rate("continued_words", "words"),
        single_token_words=whole,
        single_token_words_bare=bare,
        unk_rate=counts.rate("unk_tokens", "tokens"),
        byte_fallback_rate=counts.rate("fallback_bytes", "bytes"),
        fragmented_char_rate=counts.rate("fragmented_chars", "chars"),
        lossless_rate=counts.total("lossless") / len(counts),
    )


def single_token_rates(tokenizer: Tokenizer, documents: Iterable[str]) -> tuple[float | None, float | None]:
    """STRR of the distinct words of a corpus, with and without a space in front."""
    words = list(dict.fromkeys(word for text in documents for word in WORD.findall(text)))[:MAX_WORDS]
    if not words:
        return None, None
    found = [word_ids(tokenizer, words, has_space=has_space) for has_space in (True, False)]
    whole, bare = (sum(len(ids) == 1 for ids in each) / len(words) for each in found)
    return whole, bare


def worst_group_ratio(groups: Mapping[str, Coverage]) -> float | None:
    """Bytes a token of the worst group over those of the best: 1 is even-handed (Petrov et al., arXiv 2305.15425)."""
    rates = [coverage.bytes_per_token for coverage in groups.values() if coverage.bytes_per_token]
    return min(rates) / max(rates) if rates else None


def _bytes_per_token(sums: Sums) -> Any:
    return sums["bytes"] / sums["tokens"].clip(1)
