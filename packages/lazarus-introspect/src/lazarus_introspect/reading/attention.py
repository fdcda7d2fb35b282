"""Attention patterns, and detectors of heads with a known behaviour.

B = rows, T = tokens a row, H = query heads, P = period of repeated tokens

A detector measures the attention that a head pays to certain places, on random tokens that are repeated once:

| kind | from token i to | what it is compared with |
|---|---|---|
| induction | i - P + 1, the token after the earlier copy | the same places without repetition |
| duplicate | i - P, the earlier copy | the same places without repetition |
| previous | i - 1 | the mean of the places before i |
| sink | 0, the first token | the mean of the places before i |

Induction and duplicate depend on content, so their control has equal positions and other tokens. A head is detected when
its score exceeds the control by `margin` and the q-value is below `rate`: sign-flip p-values over the rows, corrected over
all heads (Benjamini-Hochberg).
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lazarus_introspect.cache import run_with_cache
from lazarus_introspect.errors import RequestError
from lazarus_introspect.metrics import Numbers, numbers
from lazarus_introspect.site_table import decoder_of, sites
from lazarus_introspect.statistics import benjamini_hochberg, sign_flip_p
from lazarus_models.backend import mx

Kind = Literal["induction", "duplicate", "previous", "sink"]
KINDS: tuple[Kind, ...] = ("induction", "duplicate", "previous", "sink")


def attention_patterns(model: Any, ids: Any) -> dict[int, mx.array]:
    """The pattern of each block that has attention, (B, H, T, T), by the block's number.

    With sinks a row sums to less than 1; the rest is the share of the sink.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        ids: Token ids, integer, (B, T).

    Raises:
        SiteError: No block of the model has attention.
    """
    _, cache = run_with_cache(model, ids, "blocks.*.attn.pattern")
    return {int(name.split(".")[1]): pattern for name, pattern in cache.items()}


@dataclass(frozen=True)
class HeadScore:
    """One head and one kind."""

    layer: int
    head: int
    kind: Kind
    score: float
    """Mean attention to the places of the kind, in [0, 1]."""
    control: float
    """Mean attention to the places that it is compared with, in [0, 1]."""
    p: float
    q: float
    """p corrected for all heads of the model."""
    detected: bool


def detect_heads(
    model: Any,
    *,
    kinds: tuple[Kind, ...] = KINDS,
    rows: int = 32,
    period: int = 24,
    margin: float = 0.1,
    rate: float = 0.05,
    seed: int = 0,
    first: int | None = None,
) -> list[HeadScore]:
    """Scores every head on random repeated tokens.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        kinds: Kinds to score.
        rows: Rows of tokens, at least 8: the pairs of the test.
        period: Tokens that are repeated once, at least 3.
        margin: Least difference of score and control of a detected head.
        rate: False-discovery rate, in (0, 1).
        seed: Random seed of tokens and permutations, at least 0.
        first: Token at the start of each row, such as BOS; None for none.

    Raises:
        RequestError: Too few rows or tokens.
        SiteError: No block of the model has attention.
    """
    if rows < 8 or period < 3:
        raise RequestError(
            f"`rows` {rows} or `period` {period} is too small; give at least 8 rows, period 3", "LI-E126"
        )
    vocabulary = decoder_of(model).config.vocab_size
    sites(model).find(next(iter(n for n in sites(model).present if n.endswith("pattern")), "blocks.0.attn.pattern"))
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, vocabulary, (2, rows, period))
    start = np.full((rows, int(first is not None)), 0 if first is None else first)
    repeated = np.concatenate([start, one, one], axis=1)
    control = np.concatenate([start, other, one], axis=1)
    begin = start.shape[1] + period  # the first token of the repetition
    patterns, controls = attention_patterns(model, repeated), attention_patterns(model, control)
    layers = sorted(patterns)
    found: list[HeadScore] = []
    for kind in kinds:
        pairs = [_scored(kind, patterns[layer], controls[layer], begin, period) for layer in layers]
        scores = np.concatenate([score for score, _ in pairs], axis=1)  # (rows, heads)
        nulls = np.concatenate([null for _, null in pairs], axis=1)
        p_values = sign_flip_p(scores - nulls, seed=seed)
        q_values = benjamini_hochberg(p_values)
        heads = [(layer, head) for layer in layers for head in range(patterns[layer].shape[1])]
        for place, (layer, head) in enumerate(heads):
            score, null = float(scores[:, place].mean()), float(nulls[:, place].mean())
            detected = bool(score - null >= margin and q_values[place] < rate)
            found.append(
                HeadScore(layer, head, kind, score, null, float(p_values[place]), float(q_values[place]), detected)
            )
    return found


def _scored(kind: Kind, pattern: mx.array, control: mx.array, begin: int, period: int) -> tuple[Numbers, Numbers]:
    """Score and control of each row and head, (B, H)."""
    own, other = numbers(pattern), numbers(control)
    tokens = own.shape[-1]
    if kind in ("induction", "duplicate"):
        query = np.arange(begin, tokens, dtype=np.int64)
        key = query - period + int(kind == "induction")
        return own[:, :, query, key].mean(axis=-1), other[:, :, query, key].mean(axis=-1)
    query = np.arange(2, tokens, dtype=np.int64)  # token 1 has one place before it: the previous one and the first
    key = query - 1 if kind == "previous" else np.zeros_like(query)
    before = np.mean([own[:, :, i, :i].mean(axis=-1) for i in range(2, tokens)], axis=0)
    return own[:, :, query, key].mean(axis=-1), before
