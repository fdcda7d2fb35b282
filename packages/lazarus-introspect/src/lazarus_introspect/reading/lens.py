"""Logit lens: what the model would predict from the residual stream of each layer.

B = rows, T = tokens a row, D = model width, V = vocabulary, L = blocks

The lens calls the model's own last norm and head, with statistics of the stream that it reads. Layer l is the stream that
enters block l; layer L is the model's output, with equal bits. Cost: one forward pass and L + 1 calls of the head.
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from lazarus_introspect.cache import ActivationCache, run_with_cache
from lazarus_introspect.errors import RequestError
from lazarus_introspect.metrics import Numbers, log_softmax, numbers
from lazarus_introspect.site_table import decoder_of, sites
from lazarus_models.backend import mx
from lazarus_models.trees import part


def logit_lens(model: Any, ids: Any) -> Float[mx.array, "L+1 B T V"]:
    """Logits read from the stream before each block, and the model's logits, (L + 1, B, T, V).

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        ids: Token ids, integer, (B, T).

    Raises:
        RequestError: The model has no head of a vocabulary.
    """
    return mx.stack([read_stream(model, x) for x in streams(model, ids).values()])


def streams(model: Any, ids: Any, *, mid: bool = False) -> dict[str, mx.array]:
    """The residual streams that a lens reads, by site, in the order of a pass; the last is `resid_final`.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        ids: Token ids, integer, (B, T).
        mid: Also the stream between attention and feed-forward part of each block.
    """
    decoder = decoder_of(model)
    names = [name for name in sites(decoder).present if name.endswith(("resid_pre", *(["resid_mid"] if mid else [])))]
    cache: ActivationCache = run_with_cache(decoder, ids, [*names, "resid_final"])[1]
    return {name: cache[name] for name in [*names, "resid_final"]}


def read_stream(model: Any, x: Float[mx.array, "... D"]) -> Float[mx.array, "... V"]:
    """The logits of a residual stream, by the model's last norm and head.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        x: Residual stream, float, (..., D).

    Raises:
        RequestError: The model has no head of a vocabulary.
    """
    decoder = decoder_of(model)
    return language_head(decoder)(last_norm(decoder)(x))


def last_norm(decoder: Any) -> Any:
    """The norm before the head."""
    return part(decoder.body, decoder.config.names[2])


def language_head(decoder: Any) -> Any:
    """The function from a normed stream to logits.

    Raises:
        RequestError: The model is a classifier or a regression: its outputs are not tokens.
    """
    if "score" in decoder:
        raise RequestError("the model's outputs are scores, not tokens; give a language model", "LI-E122")
    return decoder.head


class LensNumbers(NamedTuple):
    """Figures of the lens at one position; S = streams read, V = vocabulary."""

    logits: Numbers
    """(S, V)."""
    probabilities: Numbers
    """(S, V)."""
    entropy: Numbers
    """Entropy as a share of log V, in [0, 1], (S,)."""
    kl_to_final: Numbers
    """KL(layer || model's output), nats, (S,)."""
    js_to_previous: Numbers
    """Jensen-Shannon divergence to the stream before, nats, in [0, log 2], (S,); 0 for the first."""

    def rank(self, token: int) -> list[int]:
        """The rank of a token in each stream: 1 + the number of strictly larger logits."""
        return [int(row) for row in 1 + (self.logits > self.logits[:, [token]]).sum(axis=1)]

    def top(self, stream: int, k: int) -> list[int]:
        """The ids with the largest logits of one stream, in descending order; equal logits by id.

        Args:
            stream: Index of the stream.
            k: Number of ids.
        """
        order = np.argsort(-self.logits[stream], kind="stable")
        return [int(token) for token in order[:k]]


def lens_numbers(logits: Float[mx.array, "S V"]) -> LensNumbers:
    """Probabilities, entropies and divergences of lens logits, in float64.

    Args:
        logits: Logits of each stream, the model's output last, float, (S, V).
    """
    values = numbers(logits)
    logs = log_softmax(values)
    probabilities = np.exp(logs)
    entropy = -(probabilities * logs).sum(axis=1) / max(np.log(values.shape[1]), np.finfo(float).tiny)
    kl = (probabilities * (logs - logs[-1])).sum(axis=1)
    js = np.array([0.0, *(_jensen_shannon(logs[place], logs[place + 1]) for place in range(len(logs) - 1))])
    return LensNumbers(values, probabilities, np.clip(entropy, 0, 1), np.maximum(kl, 0), js)


def _jensen_shannon(one: Numbers, other: Numbers) -> float:
    middle = np.logaddexp(one, other) - np.log(2)
    each = [(np.exp(logs) * (logs - middle)).sum() for logs in (one, other)]
    return float(np.clip((each[0] + each[1]) / 2, 0, np.log(2)))


class Emergence(NamedTuple):
    """When a token takes over, by three definitions; None if it never does.

    >>> emergence([9, 1, 4, 1, 1], [0.0, 0.3, 0.1, 0.4, 0.6], threshold=0.5)
    Emergence(first_top1=1, stable=3, first_probable=4)
    """

    first_top1: int | None
    """First stream in which it has rank 1."""
    stable: int | None
    """First stream from which on it keeps rank 1; exists only if it is the model's prediction."""
    first_probable: int | None
    """First stream in which its probability reaches the threshold."""


def emergence(ranks: Sequence[int], probabilities: Sequence[float], *, threshold: float) -> Emergence:
    """The three numbers of emergence.

    Args:
        ranks: Rank of the token in each stream, from 1.
        probabilities: Its probability in each stream.
        threshold: Probability of `first_probable`, in (0, 1].
    """
    first = next((place for place, rank in enumerate(ranks) if rank == 1), None)
    later = next((place for place in reversed(range(len(ranks))) if ranks[place] != 1), -1) + 1
    probable = next((place for place, value in enumerate(probabilities) if value >= threshold), None)
    return Emergence(first, later if later < len(ranks) else None, probable)
