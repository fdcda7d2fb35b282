"""Log-probabilities of a prompt's own tokens, read alone, so that they never depend on other requests."""

from collections.abc import Sequence
from typing import Any, cast

from lazarus_models.backend import mx
from lazarus_models.generation.prompt_cache import PREFILL, PromptCache
from lazarus_models.generation.sampling import TokenLogprob
from lazarus_models.ops.normalizer import log_normalizer
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
