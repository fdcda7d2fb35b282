"""Entropy metrics of the tokens of a corpus.

```
p_v = c_v / n      H1 = -sum p log2 p      perplexity = 2^H1      unigram bits per byte = n H1 / B
Renyi H_a = log2(sum p^a) / (1 - a)        efficiency = H_a / log2 V       (Zouhar et al. 2023, arXiv 2306.16842)
```
Efficiency is given with its alpha, relative to the vocabulary size and to the number of distinct ids. It measures how
evenly a vocabulary is used, not the quality of a tokenizer. Only bits per byte can be compared between tokenizers.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lazarus_tokenkit.analysis.counts import CorpusCounts, count_corpus
from lazarus_tokenkit.samples.documents import as_documents
from lazarus_tokenkit.tables import Table, as_text, number, percent
from lazarus_tokenkit.tokenizers.load import TokenizerOrName, as_tokenizer

ALPHA = 2.5
"""The value of the paper. The package `tokenization-scorer` uses 3.0."""


@dataclass(frozen=True)
class Entropy:
    """Entropy of the tokens of a corpus. Values are None for a corpus without tokens.

    Args:
        tokens: n, number of tokens.
        vocab_size: V, number of embedding rows.
        observed: Number of distinct ids in the corpus.
        entropy_bits: H1 in bits a token.
        perplexity: 2^H1.
        bits_per_byte: Bits per byte of the unigram model, n H1 / B.
        alpha: Order of the Renyi entropy.
        renyi_bits: H_alpha in bits.
        efficiency: H_alpha / log2 V, 0 to 1.
        efficiency_of_observed: H_alpha / log2 observed, 0 to 1.
        utilisation: observed / V, 0 to 1. It grows with n.
        unseen_mass: Good-Turing estimate of the probability that the next token is new: ids seen once / n.
    """

    tokens: int
    vocab_size: int
    observed: int
    entropy_bits: float | None
    perplexity: float | None
    bits_per_byte: float | None
    alpha: float
    renyi_bits: float | None
    efficiency: float | None
    efficiency_of_observed: float | None
    utilisation: float | None
    unseen_mass: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """Formats the result as a table."""
        return as_text(self.blocks())

    def blocks(self) -> list[Table | str]:
        """The result as tables and paragraphs."""
        rows = [
            ("entropy", number(self.entropy_bits), "bits a token"),
            ("perplexity", number(self.perplexity, 1), "number of equally likely ids with this entropy"),
            ("bits/byte", number(self.bits_per_byte), "of the unigram model; comparable across tokenizers"),
            ("Renyi entropy", number(self.renyi_bits), f"bits, alpha {self.alpha}"),
            ("efficiency", number(self.efficiency), f"of log2 {self.vocab_size:,}, the vocabulary"),
            ("", number(self.efficiency_of_observed), f"of log2 {self.observed:,}, the ids seen"),
            ("utilisation", percent(self.utilisation), f"of the vocabulary seen in {self.tokens:,} tokens"),
            ("unseen mass", percent(self.unseen_mass), "probability that the next token is new"),
        ]
        return [Table(rows, right=(1,))]


def analyze_entropy(tokenizer: TokenizerOrName, documents: Iterable[str], alpha: float = ALPHA) -> Entropy:
    """Computes the entropy of a corpus.

    >>> from lazarus_tokenkit import load_tokenizer
    >>> analyze_entropy(load_tokenizer("byte"), ["abcd"]).entropy_bits
    2.0

    Args:
        tokenizer: A tokenizer, or its name or path.
        documents: The corpus.
        alpha: Order of the Renyi entropy, at least 0.

    Raises:
        TokenkitError: The corpus is empty.
    """
    return entropy_of(count_corpus(as_tokenizer(tokenizer), as_documents(documents)), alpha)


def entropy_of(counts: CorpusCounts, alpha: float = ALPHA) -> Entropy:
    """Computes entropy from counts.

    Args:
        counts: Counts of the corpus.
        alpha: Order of the Renyi entropy, at least 0.
    """
    seen = counts.frequencies[counts.frequencies > 0]
    tokens, observed = int(seen.sum()), len(seen)
    if not tokens:
        return Entropy(0, counts.vocab_size, 0, None, None, None, alpha, None, None, None, 0.0, None)
    shares = seen / tokens
    bits = float(-(shares * np.log2(shares)).sum()) + 0.0  # no -0.0
    # The Renyi entropy converges to the Shannon entropy at alpha 1, where its formula divides by 0.
    renyi = bits if alpha == 1 else _renyi(shares, alpha)
    return Entropy(
        tokens=tokens,
        vocab_size=counts.vocab_size,
        observed=observed,
        entropy_bits=bits,
        perplexity=2**bits,
        bits_per_byte=tokens * bits / counts.total("bytes"),
        alpha=alpha,
        renyi_bits=renyi,
        efficiency=_of_log2(renyi, counts.vocab_size),
        efficiency_of_observed=_of_log2(renyi, observed),
        utilisation=observed / counts.vocab_size,
        unseen_mass=int((seen == 1).sum()) / tokens,
    )


def _renyi(shares: NDArray[np.float64], alpha: float) -> float:
    """Computes log2(sum p^a) / (1 - a). The largest p is factored out, because powers of small p underflow to 0."""
    top = float(shares.max())
    inside = float(np.log2(((shares / top) ** alpha).sum()))
    return (alpha * math.log2(top) + inside) / (1 - alpha) + 0.0  # no -0.0


def _of_log2(bits: float, size: int) -> float:
    return bits / math.log2(size) if size > 1 else 1.0  # one id is used evenly by definition
