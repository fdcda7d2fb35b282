"""Losses of reinforcement learning from log-probabilities: clipped ratios, the KL estimator, values.

L = tokens that the model drew, of all answers of a batch; A = answers
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float

from lazarus_models.backend import mx


class Clipped(NamedTuple):
    """A clipped objective of every token.

    Args:
        loss: -min(r A, clip(r) A), (L,).
        ratio: Probability now over probability when drawn, r, (L,).
        is_clipped: Whether the clipped side is the smaller one, so that the token has no gradient, (L,).
    """

    loss: Float[mx.array, " L"]
    ratio: Float[mx.array, " L"]
    is_clipped: Float[mx.array, " L"]


def clipped_loss(
    log_ratio: Float[mx.array, " L"], advantage: Float[mx.array, " L"], low: float, high: float
) -> Clipped:
    """The clipped surrogate of PPO (arXiv 1707.06347, eq. 7), with a bound of its own on each side (DAPO, arXiv 2503.14476, eq. 10).

    Args:
        log_ratio: Log-probability now minus log-probability when drawn.
        advantage: Advantage of each token.
        low: The ratio is clipped below 1 - low.
        high: The ratio is clipped above 1 + high.
    """
    ratio = mx.exp(log_ratio)
    free, bound = ratio * advantage, mx.clip(ratio, 1 - low, 1 + high) * advantage
    return Clipped(-mx.minimum(free, bound), ratio, (bound < free).astype(mx.float32))


def answer_means(values: Float[mx.array, " L"], lengths: Sequence[int]) -> Float[mx.array, " L"]:
    """The mean over each answer, at every token of it: the sequence ratio of GSPO (arXiv 2507.18071, eq. 7) in logarithms.

    Args:
        values: One value a token; answers are contiguous.
        lengths: Tokens of each answer; their sum is L.
    """
    means: list[mx.array] = []
    first = 0
    for length in lengths:
        if length:
            means.append(mx.broadcast_to(values[first : first + length].mean(), (length,)))
        first += length
    return mx.concatenate(means) if means else values


def kl_estimate(log_probability: Float[mx.array, " L"], reference: Float[mx.array, " L"]) -> Float[mx.array, " L"]:
    """The estimator k3 of KL(policy || reference) of every token, never negative (arXiv 2402.03300, eq. 4).

    Args:
        log_probability: Of the policy.
        reference: Of the reference.
    """
    difference = reference - log_probability
    return mx.exp(difference) - difference - 1


def value_loss(
    value: Float[mx.array, " L"], old: Float[mx.array, " L"], target: Float[mx.array, " L"], clip: float
) -> Float[mx.array, " L"]:
    """Half the larger squared error of the value and of the value within `clip` of the old one, as in TRL and OpenAI's baselines.

    Args:
        value: Value of the state before each token.
        old: The value when the answer was drawn.
        target: The return of each token.
        clip: Largest change of a value.
    """
    near = mx.clip(value, old - clip, old + clip)
    return 0.5 * mx.maximum(mx.square(value - target), mx.square(near - target))
