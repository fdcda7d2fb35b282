"""Length metrics: lengths of documents, overflow of a context, tokens of equations, steps and tool calls.

A token counts for a span if it overlaps the span. Spans are encoded as part of their document.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lazarus_tokenkit.analysis.counts import byte_places, chunks
from lazarus_tokenkit.errors import TokenkitError
from lazarus_tokenkit.samples.documents import as_documents
from lazarus_tokenkit.tables import Table, as_text, bars, number, percent
from lazarus_tokenkit.tokenizers.load import TokenizerOrName, as_tokenizer
from lazarus_tokenkit.tokenizers.protocol import Segments

QUANTILES = (50, 90, 95, 99)
NUM_BINS = 20
SPANS: Mapping[str, re.Pattern[str]] = {
    "equation": re.compile(r"[\d($][\d\s.,$%()+\-*/x\u00d7\u00f7]*=\s*[$-]?[\d.,]*\d"),
    "step": re.compile(r"[^\n]*\S[^\n]*"),
    "tool call": re.compile(
        r"<tool_call>.*?</tool_call>|\{\s*\"name\"\s*:.*?\"(?:arguments|parameters)\"\s*:.*?\}\s*\}", re.S
    ),
}
"""Patterns of spans: an expression with its result, a non-empty line, a tool call in tags or as a JSON object."""


@dataclass(frozen=True)
class Efficiency:
    """Lengths of documents in tokens.

    Args:
        documents: N, number of documents.
        tokens: n, number of tokens.
        quantiles: Quantile by per cent, linearly interpolated.
        longest: Largest length.
        context_length: Length of the context in tokens.
        over_context: Share of documents longer than the context, 0 to 1.
        tokens_per: Mean tokens of an equation, a step, a tool call; None if there is none.
        spans: Number of equations, steps, tool calls.
        histogram: (first length, last length, documents) of ranges of equal width.
    """

    documents: int
    tokens: int
    quantiles: dict[int, float]
    longest: int
    context_length: int
    over_context: float
    tokens_per: dict[str, float | None]
    spans: dict[str, int]
    histogram: tuple[tuple[int, int, int], ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """Formats the result as a table with a histogram."""
        return as_text(
            [*self.blocks(), bars([(f"{first:,} - {last:,}", count) for first, last, count in self.histogram])]
        )

    def blocks(self) -> list[Table | str]:
        """The result as a table, without the histogram."""
        rows = [("documents", number(self.documents), f"{self.tokens:,} tokens")]
        rows += [(f"p{share}", number(length, 1), "tokens") for share, length in self.quantiles.items()]
        rows += [
            ("longest", number(self.longest), ""),
            ("over context", percent(self.over_context), f"longer than {self.context_length:,}"),
        ]
        rows += [
            (f"tokens/{name}", number(mean, 1), f"{self.spans[name]:,} found") for name, mean in self.tokens_per.items()
        ]
        return [Table(rows, right=(1,))]


def analyze_efficiency(tokenizer: TokenizerOrName, documents: Iterable[str], context_length: int = 2048) -> Efficiency:
    """Computes the lengths of a corpus.

    >>> from lazarus_tokenkit import load_tokenizer
    >>> analyze_efficiency(load_tokenizer("byte"), ["1+1=2", "so 12"]).tokens_per["equation"]
    5.0

    Args:
        tokenizer: A tokenizer, or its name or path.
        documents: The corpus.
        context_length: Length of the context in tokens, at least 1.

    Raises:
        TokenkitError: The corpus is empty.
    """
    tokenizer, documents = as_tokenizer(tokenizer), as_documents(documents)
    lengths: list[int] = []
    spent: dict[str, list[int]] = {name: [] for name in SPANS}
    for batch in chunks(documents):
        for text, found in zip(batch, tokenizer.segment_batch(batch, parse_special=False), strict=True):
            lengths.append(len(found.ids))
            for name, pattern in SPANS.items():
                spent[name] += span_tokens(text, found, pattern).tolist()
    if not lengths:
        raise TokenkitError("the corpus is empty: no documents to analyse", "LT-E601")
    sizes = np.array(lengths, dtype=np.int64)  # (N,)
    return Efficiency(
        documents=len(lengths),
        tokens=int(sizes.sum()),
        quantiles={share: float(np.percentile(sizes, share)) for share in QUANTILES},
        longest=int(sizes.max()),
        context_length=context_length,
        over_context=float((sizes > context_length).mean()),
        tokens_per={name: float(np.mean(counts)) if counts else None for name, counts in spent.items()},
        spans={name: len(counts) for name, counts in spent.items()},
        histogram=histogram(sizes),
    )


def span_tokens(text: str, found: Segments, pattern: re.Pattern[str]) -> NDArray[np.int64]:
    """Counts the tokens that overlap each match of a pattern.

    Args:
        text: The text that was encoded.
        found: Tokens of the text with their byte ranges.
        pattern: Regular expression of the spans.

    Returns:
        Number of tokens of each span, int64 (spans,).
    """
    spans = np.array([match.span() for match in pattern.finditer(text)], dtype=np.int64).reshape(-1, 2)
    # Regular expressions report characters, tokens are in bytes. In ASCII text both are equal.
    places = spans if text.isascii() else byte_places(text)[spans]
    starts, ends = np.array(found.starts, dtype=np.int64), np.array(found.ends, dtype=np.int64)
    # Tokens that start before the span's end, without the tokens that end at or before its start.
    return np.searchsorted(starts, places[:, 1], "left") - np.searchsorted(ends, places[:, 0], "right")


def histogram(
    sizes: NDArray[np.int64], occurrences: NDArray[np.int64] | None = None, num_bins: int = NUM_BINS
) -> tuple[tuple[int, int, int], ...]:
    """Computes a histogram with ranges of equal width.

    Args:
        sizes: Values, int64 (N,), at least one.
        occurrences: Weight of each value, int64 (N,), or None for 1.
        num_bins: Largest number of ranges.

    Returns:
        (first value, last value, count) of each range. Both ends are inclusive.
    """
    low, high = int(sizes.min()), int(sizes.max())
    # The width is rounded up to an integer, so that at most `num_bins` ranges cover all values.
    width = max(1, -(-(high - low + 1) // num_bins))
    counts = np.bincount((sizes - low) // width, weights=occurrences)
    return tuple((low + place * width, low + (place + 1) * width - 1, int(count)) for place, count in enumerate(counts))
