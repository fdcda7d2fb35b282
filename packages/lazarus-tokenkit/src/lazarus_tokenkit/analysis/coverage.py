"""Coverage metrics: text per token, split words and characters, unknown and lossy text.

```
bytes/token = B/n      chars/token = C/n      fertility = n/W      PCW = words with a boundary inside / W
unk rate = unk/n       byte fallback = bytes in single-byte tokens that are not a character / B
fragmented = characters with a boundary inside / C                 lossless = documents restored by decoding / N
STRR = share of the corpus's distinct words that are one token, with and without a leading space (arXiv 2510.09947)
```
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, overload

from lazarus_tokenkit.analysis.bootstrap import Sums, interval
from lazarus_tokenkit.analysis.counts import WORD, CorpusCounts, count_corpus, word_ids
from lazarus_tokenkit.samples.documents import as_documents
from lazarus_tokenkit.tables import Table, as_text, number, percent
from lazarus_tokenkit.tokenizers.load import TokenizerOrName, tokenizer_first
from lazarus_tokenkit.tokenizers.protocol import Tokenizer

MAX_WORDS = 50_000
"""STRR uses the first 50,000 distinct words. The rate is stable well below that."""


@dataclass(frozen=True)
class Coverage:
    """Coverage of a corpus. A rate is None if its divisor is 0.

    Args:
        documents: N, number of documents.
        bytes: B, number of UTF-8 bytes.
        chars: C, number of characters.
        words: W, number of words between white space.
        tokens: n, number of tokens without special tokens.
        bytes_per_token: B/n.
        bytes_per_token_interval: 95 % bootstrap interval of B/n over documents; None for one document.
        chars_per_token: C/n.
        fertility: n/W, tokens a word.
        continued_word_rate: PCW, share of words with several tokens, 0 to 1.
        single_token_words: STRR with a leading space, 0 to 1.
        single_token_words_bare: STRR without a leading space, 0 to 1.
        unk_rate: Share of tokens that are unk, 0 to 1.
        byte_fallback_rate: Share of bytes in single-byte tokens that are not a character, 0 to 1.
        fragmented_char_rate: Share of characters that span several tokens, 0 to 1.
        lossless_rate: Share of documents that decoding restores, 0 to 1.
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

    @property
    def tokens_per_word(self) -> float | None:
        """The fertility, by its other name."""
        return self.fertility

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """Formats the result as a table."""
        return as_text(self.blocks())

    def blocks(self) -> list[Table | str]:
        """The result as tables and paragraphs."""
        return [self.table()]

    def table(self, title: str = "") -> Table:
        """The result as one table."""
        low, high = self.bytes_per_token_interval or (None, None)
        spread = f"95 % of resamples: {number(low)} to {number(high)}" if low is not None else ""
        rows = [
            ("documents", number(self.documents), f"{self.bytes:,} bytes, {self.chars:,} characters"),
            ("tokens", number(self.tokens), f"{self.words:,} words between white space"),
            ("bytes/token", number(self.bytes_per_token), spread),
            ("chars/token", number(self.chars_per_token), ""),
            ("fertility", number(self.fertility), "tokens a word"),
            ("continued words", percent(self.continued_word_rate), "words with several tokens"),
            ("words kept whole", percent(self.single_token_words), "of the distinct words, with a leading space"),
            ("", percent(self.single_token_words_bare), "without a leading space"),
            ("unknown", percent(self.unk_rate), "tokens for text outside the vocabulary"),
            ("byte fallback", percent(self.byte_fallback_rate), "bytes encoded one by one"),
            ("fragmented", percent(self.fragmented_char_rate), "characters with several tokens"),
            ("lossless", percent(self.lossless_rate), "documents that decoding restores"),
        ]
        return Table(rows, right=(1,), title=title)


@dataclass(frozen=True)
class CoverageByFile:
    """Coverage of each of several files.

    Args:
        files: Coverage by file name.
        worst_group_ratio: Smallest bytes per token of a file divided by the largest; None without tokens.
    """

    files: dict[str, Coverage]
    worst_group_ratio: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """Formats the result as a table."""
        return as_text(self.blocks())

    def blocks(self) -> list[Table | str]:
        """The result as tables and paragraphs."""
        ratio = self.worst_group_ratio
        last = "no tokens" if ratio is None else f"bytes/token of the worst file divided by the best: {ratio:.3f}"
        return [*(each.table(name) for name, each in self.files.items()), last]


@overload
def analyze_coverage(tokenizer: TokenizerOrName, documents: Iterable[str]) -> Coverage: ...
@overload
def analyze_coverage(tokenizer: Iterable[str], documents: TokenizerOrName) -> Coverage: ...
def analyze_coverage(
    tokenizer: TokenizerOrName | Iterable[str], documents: Iterable[str] | TokenizerOrName
) -> Coverage:
    """Computes the coverage of a corpus. The two arguments may also be given in the other order.

    >>> from lazarus_tokenkit import load_tokenizer
    >>> coverage = analyze_coverage(load_tokenizer("byte"), ["one two"])
    >>> coverage.bytes_per_token, coverage.fertility, coverage.continued_word_rate
    (1.0, 3.5, 1.0)

    Args:
        tokenizer: A tokenizer, or its name or path.
        documents: The corpus.

    Raises:
        TokenkitError: The corpus is empty.
    """
    opened, texts = tokenizer_first(tokenizer, documents)
    corpus = list(as_documents(texts))
    return coverage_of(count_corpus(opened, corpus), *single_token_rates(opened, corpus))


def coverage_of(counts: CorpusCounts, whole: float | None = None, bare: float | None = None) -> Coverage:
    """Computes coverage from counts.

    Args:
        counts: Counts of the corpus.
        whole: STRR with a leading space, or None.
        bare: STRR without a leading space, or None.
    """
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
    """Computes STRR of a corpus with and without a leading space. Both are None without words.

    Args:
        tokenizer: The tokenizer to measure.
        documents: Texts; the first `MAX_WORDS` distinct words count.
    """
    words = list(dict.fromkeys(word for text in documents for word in WORD.findall(text)))[:MAX_WORDS]
    if not words:
        return None, None
    found = [word_ids(tokenizer, words, has_space=has_space) for has_space in (True, False)]
    whole, bare = (sum(len(ids) == 1 for ids in each) / len(words) for each in found)
    return whole, bare


def worst_group_ratio(groups: Mapping[str, Coverage]) -> float | None:
    """Divides the smallest bytes per token of a group by the largest. 1 means parity (Petrov et al., arXiv 2305.15425)."""
    rates = [coverage.bytes_per_token for coverage in groups.values() if coverage.bytes_per_token]
    return min(rates) / max(rates) if rates else None


def _bytes_per_token(sums: Sums) -> Any:
    return sums["bytes"] / sums["tokens"].clip(1)
