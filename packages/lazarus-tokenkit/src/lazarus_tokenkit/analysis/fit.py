"""Scores the fit of a tokenizer to a corpus, 0 to 100, relative to a tokenizer of equal size trained on the corpus.

```
reference   a byte-level BPE of the same vocabulary size, trained on one half of the documents, measured on the other
            half; then with the halves exchanged; the two results are averaged
compression clip(log(bytes/token) / log(the reference's), 0, 1)           a byte tokenizer scores 0
words       clip((1 - PCW) / (1 - the reference's PCW), 0, 1)             PCW: share of words with several tokens
cover       1 - (bytes encoded as unk + bytes encoded one by one) / B
lossless    documents restored by decoding / N
score       100 * lossless * cover * (0.7 compression + 0.3 words), to one decimal
grade       A from 90, B from 80, C from 70, D from 60, else F; none below 100 kB of text
```
The score is monotonic: more tokens for the same text never raise it. Computing it takes two short trainings.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, overload

import numpy as np

from lazarus_tokenkit.analysis.bootstrap import Sums, interval
from lazarus_tokenkit.analysis.counts import CorpusCounts, count_corpus
from lazarus_tokenkit.errors import TokenkitError
from lazarus_tokenkit.samples.documents import as_documents
from lazarus_tokenkit.tables import Table, as_text, number, percent
from lazarus_tokenkit.tokenizers.load import TokenizerOrName, tokenizer_first

WEIGHTS = {"compression": 0.7, "words": 0.3}
GRADES = ((90, "A"), (80, "B"), (70, "C"), (60, "D"))
DECIMALS = 1
"""Decimals of a score. The grade follows from the rounded score, so that both agree in every report."""
INSUFFICIENT = "insufficient sample"
MIN_BYTES = 100_000
"""Smallest corpus for a grade. A smaller one does not train a meaningful reference."""
COLUMNS = ("bytes", "tokens", "words", "continued_words", "unk_bytes", "fallback_bytes", "lossless")


@dataclass(frozen=True)
class Reference:
    """Results of the two reference tokenizers, each on the half that it was not trained on.

    Args:
        bytes_per_token: Geometric mean of the two results.
        continued_word_rate: Mean of the two results, 0 to 1.
        ids: Vocabulary sizes of the two tokenizers. A small corpus gives fewer ids than requested.
        fingerprint: SHA-256 over the files of both tokenizers, first 16 hexadecimal digits.
    """

    bytes_per_token: float
    continued_word_rate: float
    ids: tuple[int, int]
    fingerprint: str


@dataclass(frozen=True)
class FitScore:
    """A fit score with its components.

    Args:
        score: The score, 0 to 100, rounded to one decimal.
        grade: A, B, C, D, F, or `insufficient sample`.
        interval: 95 % bootstrap interval of the score over documents, rounded like it.
        parts: `compression`, `words`, `cover`, `lossless`, each 0 to 1.
        weights: Weights of `compression` and `words`.
        documents: N, number of documents.
        bytes: B, number of UTF-8 bytes.
        bytes_per_token: Bytes per token of the tokenizer.
        continued_word_rate: Share of words with several tokens, 0 to 1.
        reference: Results of the reference tokenizers.
    """

    score: float
    grade: str
    interval: tuple[float, float]
    parts: dict[str, float]
    weights: dict[str, float]
    documents: int
    bytes: int
    bytes_per_token: float
    continued_word_rate: float
    reference: Reference

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """Formats the result as a table."""
        return as_text(self.blocks())

    def blocks(self) -> list[Table | str]:
        """The result as tables and paragraphs."""
        low, high = self.interval
        grade = (
            f"grade {self.grade}" if self.bytes >= MIN_BYTES else f"{self.grade}, no grade below {MIN_BYTES:,} bytes"
        )
        parts, reference = self.parts, self.reference
        whole, made = 1 - self.continued_word_rate, 1 - reference.continued_word_rate
        rows = [
            ("", "tokenizer", "reference", "part"),
            (
                "bytes/token",
                number(self.bytes_per_token),
                number(reference.bytes_per_token),
                number(parts["compression"]),
            ),
            ("words kept whole", percent(whole), percent(made), number(parts["words"])),
            ("bytes covered", percent(parts["cover"]), percent(1.0), number(parts["cover"])),
            ("lossless", percent(parts["lossless"]), percent(1.0), number(parts["lossless"])),
        ]
        learnt = " and ".join(f"{count:,}" for count in reference.ids)
        return [
            f"{self.score:.1f} of 100, {grade}  (95 % of resamples: {low:.1f} to {high:.1f})",
            Table(rows, right=(1, 2, 3), has_head=True),
            f"{self.documents:,} documents, {self.bytes:,} bytes; reference: two byte-level BPEs of {learnt} ids, each"
            f" trained on one half and measured on the other ({reference.fingerprint})",
        ]


@overload
def calculate_fit_score(
    tokenizer: TokenizerOrName, documents: Iterable[str], reference: Reference | None = None, seed: int = 0
) -> FitScore: ...
@overload
def calculate_fit_score(
    tokenizer: Iterable[str], documents: TokenizerOrName, reference: Reference | None = None, seed: int = 0
) -> FitScore: ...
def calculate_fit_score(
    tokenizer: TokenizerOrName | Iterable[str],
    documents: Iterable[str] | TokenizerOrName,
    reference: Reference | None = None,
    seed: int = 0,
) -> FitScore:
    """Scores the fit of a tokenizer to a corpus. The first two arguments may also be given in the other order.

    Args:
        tokenizer: A tokenizer, or its name or path.
        documents: The corpus, at least two documents.
        reference: Results of reference tokenizers. None trains them.
        seed: Random seed of the halves and of the resampling.

    Raises:
        TokenkitError: The corpus has fewer than two documents.
    """
    opened, texts = tokenizer_first(tokenizer, documents)
    corpus = list(as_documents(texts))
    reference = reference or train_reference(corpus, len(opened.vocab), seed)
    counts = count_corpus(opened, corpus)
    columns = {name: counts.columns[name] for name in COLUMNS}
    # The same functions compute the score from the total and, for the interval, from every resample.
    parts = _parts({name: np.array([float(column.sum())]) for name, column in columns.items()}, len(counts), reference)
    score = round(float(_score(parts)[0]), DECIMALS)
    low, high = interval(columns, lambda sums: _score(_parts(sums, len(counts), reference)), seed)
    size = counts.total("bytes")
    grade = next((grade for least, grade in GRADES if score >= least), "F")
    return FitScore(
        score=score,
        grade=grade if size >= MIN_BYTES else INSUFFICIENT,
        interval=(round(low, DECIMALS), round(high, DECIMALS)),
        parts={name: float(values[0]) for name, values in parts.items()},
        weights=dict(WEIGHTS),
        documents=len(counts),
        bytes=size,
        bytes_per_token=counts.rate("bytes", "tokens") or 0.0,
        continued_word_rate=counts.rate("continued_words", "words") or 0.0,
        reference=reference,
    )


def train_reference(documents: list[str], vocab_size: int, seed: int = 0) -> Reference:
    """Trains a reference tokenizer on each half of the documents and measures it on the other half.

    Args:
        documents: The corpus, at least two documents.
        vocab_size: Vocabulary size of the tokenizers.
        seed: Random seed of the halves.

    Raises:
        TokenkitError: The corpus has fewer than two documents.
    """
    if len(documents) < 2:
        raise TokenkitError(
            "a fit score needs two documents or more: one half trains the reference, the other measures it", "LT-E602"
        )
    order = np.random.default_rng(seed).permutation(len(documents))
    half = len(documents) // 2
    chosen = {int(place) for place in order[:half]}
    halves = [[text for place, text in enumerate(documents) if (place in chosen) is first] for first in (True, False)]
    measured: list[CorpusCounts] = []
    ids: list[int] = []
    digest = hashlib.sha256()
    for learned, held_out in (halves, halves[::-1]):  # train on each half, measure on the other
        made = _train(learned, vocab_size)
        digest.update(b"".join(content for _, content in sorted(made.files.items())))
        ids.append(made.vocab_size)
        measured.append(count_corpus(made, held_out))
    # Bytes per token is a ratio, so its two results are averaged geometrically.
    logs = [math.log(counts.rate("bytes", "tokens") or 1.0) for counts in measured]
    rates = [counts.rate("continued_words", "words") or 0.0 for counts in measured]
    return Reference(math.exp(sum(logs) / 2), sum(rates) / 2, (ids[0], ids[1]), digest.hexdigest()[:16])


def _train(documents: list[str], vocab_size: int) -> Any:
    from lazarus_tokenkit.tokenizers.trainers.bpe import BpeConfig, train_bpe

    config = BpeConfig(vocab_size=max(vocab_size, BpeConfig.smallest(special_tokens=())), special_tokens=())
    return train_bpe(documents, config, name="reference")


def _parts(sums: Sums, num_documents: int, reference: Reference) -> dict[str, Any]:
    # Arrays with one element for each resample; `clip(1)` avoids division by 0 for empty resamples.
    rate = np.log(sums["bytes"].clip(1) / sums["tokens"].clip(1))
    kept = 1 - sums["continued_words"] / sums["words"].clip(1)
    return {
        "compression": _share(rate, math.log(reference.bytes_per_token)),
        "words": _share(kept, 1 - reference.continued_word_rate),
        "cover": (1 - (sums["unk_bytes"] + sums["fallback_bytes"]) / sums["bytes"].clip(1)).clip(0, 1),
        "lossless": sums["lossless"] / num_documents,
    }


def _share(value: Any, whole: float) -> Any:
    # The part is 1 if the reference itself has no compression or no whole words.
    return np.ones_like(value) if whole <= 0 else (value / whole).clip(0, 1)


def _score(parts: dict[str, Any]) -> Any:
    return 100 * parts["lossless"] * parts["cover"] * sum(weight * parts[name] for name, weight in WEIGHTS.items())
