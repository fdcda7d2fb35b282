"""Log-probabilities of a prompt's own tokens, read alone, so that they never depend on other requests."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lazarus_models.backend import mx
from lazarus_models.generation.prompt_cache import PREFILL, PromptCache
from lazarus_models.generation.sampling import TokenLogprob
from lazarus_models.ops.normalizer import exponential_sum, log_normalizer
from lazarus_models.trees import integers

SCORED = 64
"""Positions whose logits are computed together: 64 rows of 150,000 float32 are 38 MB."""


def read_scored(model: Any, ids: Sequence[int], top: int) -> tuple[PromptCache, mx.array, list[TokenLogprob]]:
    """Reads a prompt and scores its tokens.

    Args:
        model: A `Decoder`.
        ids: Token ids of the prompt, at least one.
        top: Number of most likely tokens to record, at least 0.

    Returns:
        The cache, the logits (V,) after the last token, and the log-probability of each token after the first.
    """
    cache = PromptCache.empty(model)
    scores: list[TokenLogprob] = []
    logits = mx.zeros((1, 0))
    for start in range(0, len(ids), PREFILL):
        states = model.body(mx.array([list(ids[start : start + PREFILL])]), cache.layers)
        for first in range(0, states.shape[1], SCORED):
            logits = model.head(states[:, first : first + SCORED])[0].astype(mx.float32)
            after = ids[start + first + 1 : start + first + 1 + logits.shape[0]]
            scores += _scored(logits[: len(after)], after, top)
    cache.ids += ids
    return cache, logits[-1], scores


def token_logprobs(model: Any, ids: Sequence[int], first: int = 1) -> NDArray[np.float64]:
    """Log-probabilities of the last tokens of a text, each given all tokens before it.

    The sums over the vocabulary are those of `read_scored`; their logarithm is taken in float64.

    Args:
        model: A `Decoder`.
        ids: Token ids, at least two.
        first: Place of the first token that is scored, at least 1. Tokens before it are context.

    Returns:
        Natural logarithms of the probabilities of `ids[first:]`.
    """
    return choice_logprobs(model, ids[:-1], [ids[-1]], first)[0]


def choice_logprobs(
    model: Any, shared: Sequence[int], last: Sequence[int], first: int | None = None
) -> list[NDArray[np.float64]]:
    """`token_logprobs` of texts that differ in their last token alone. The model reads the tokens before it once.

    Args:
        model: A `Decoder`.
        shared: Token ids before the last one, at least one.
        last: The last token of each text.
        first: Place of the first token that is scored; None scores the last token alone.

    Returns:
        Of each text, natural logarithms of the probabilities of its tokens from `first` on.
    """
    first = len(shared) if first is None else first
    targets = [*shared[1:], last[0]]
    cache = PromptCache.empty(model)
    parts: list[NDArray[np.float64]] = []
    ends = np.zeros(0)
    for start in range(0, len(shared), PREFILL):
        states = model.body(mx.array([list(shared[start : start + PREFILL])]), cache.layers)
        for block in range(0, states.shape[1], SCORED):
            place = start + block
            if place + SCORED < first:
                continue  # context alone: its logits are not computed
            logits = model.head(states[:, block : block + SCORED])[0].astype(mx.float32)
            wanted = targets[place : place + logits.shape[0]]
            parts.append(_exact(logits, wanted)[max(0, first - 1 - place) :])
            if place + logits.shape[0] == len(shared):
                ends = _exact(mx.repeat(logits[-1:], len(last), axis=0), last)
    own = np.concatenate(parts)[:-1]
    return [np.append(own, end) for end in ends]


def _exact(logits: mx.array, ids: Sequence[int]) -> NDArray[np.float64]:
    """Log-probabilities of one token for each row of logits (T, V)."""
    largest, total = exponential_sum(logits)
    own = mx.take_along_axis(logits, mx.array(list(ids))[:, None], axis=-1)
    shifted, total = np.array(own - largest, dtype=np.float64), np.array(total, dtype=np.float64)
    return (shifted - np.log(total))[:, 0]


def _scored(logits: mx.array, ids: Sequence[int], top: int) -> list[TokenLogprob]:
    if not ids:
        return []
    logprobs = logits - log_normalizer(logits)
    own = cast("list[float]", mx.take_along_axis(logprobs, mx.array(list(ids))[:, None], axis=-1)[:, 0].tolist())
    if not top:
        return [TokenLogprob(logprob) for logprob in own]
    # The first of equal maxima, as a stable sort gives; a sort of 49,152 tokens takes longer than the head of the model.
    best = mx.argmax(logprobs, axis=-1)[:, None] if top == 1 else mx.argsort(-logprobs, axis=-1)[:, :top]
    values = cast("list[list[float]]", mx.take_along_axis(logprobs, best, axis=-1).tolist())
    return [
        TokenLogprob(logprob, tuple(zip(integers(best[place]), values[place], strict=True)))
        for place, logprob in enumerate(own)
    ]
