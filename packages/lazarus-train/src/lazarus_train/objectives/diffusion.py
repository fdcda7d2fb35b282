"""Masked diffusion (LLaDA, arXiv 2502.09992): mask some tokens, predict them from all the others.

R = rows, T = tokens a row, V = vocabulary

What is masked is drawn from a key of its own: the same key gives the same masks, whatever was drawn before. Losses are
sums over the maskable tokens; divided by the number of those, an upper bound on -log p a token.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from typing import NamedTuple

from jaxtyping import Bool, Float, Int

from lazarus_models.backend import mx, nn

EPSILON = 1e-3
"""The smallest share of tokens that is masked (LLaDA's): keeps the weights 1 / p below 1,000."""


class Noised(NamedTuple):
    """Rows with some tokens masked.

    Args:
        ids: What the model is given.
        is_masked: Which tokens it has to find.
        weight: What each masked token's loss counts; 0 elsewhere.
    """

    ids: Int[mx.array, "R T"]
    is_masked: Bool[mx.array, "R T"]
    weight: Float[mx.array, "R T"]


def mask_times(rows: int, key: mx.array) -> Float[mx.array, " R"]:
    """A time t in [0, 1) for each row of a step: t_i = (u + perm_i / R) mod 1.

    One u, uniform in [0, 1), serves the step, so each t_i is uniform by itself and the times are evenly spaced. The
    permutation decides which row gets which stratum: rows of a step are sorted by length, and without it rows of like
    lengths would get like times.

    Args:
        rows: R, the rows of the whole step, over all micro-batches and ranks.
        key: Decides u and the permutation.
    """
    start_key, order_key = mx.random.split(key)
    strata = mx.random.permutation(rows, key=order_key)
    return (mx.random.uniform(key=start_key) + strata / rows) % 1.0


def mask_share(times: Float[mx.array, " R"]) -> Float[mx.array, " R"]:
    """P = (1 - e) t + e."""
    return (1 - EPSILON) * times + EPSILON


def mask_tokens(
    ids: Int[mx.array, "R T"],
    is_maskable: Bool[mx.array, "R T"],
    mask_id: int,
    share: Float[mx.array, " R"],
    draws: Float[mx.array, "R T"],
) -> Noised:
    """Masks every maskable token of a row with probability p, weight 1 / p (LLaDA, eq. 3).

    Args:
        ids: Token ids.
        is_maskable: All real tokens in pre-training, the answer's in fine-tuning.
        mask_id: Stands for a masked token.
        share: p of each row.
        draws: Uniform in [0, 1): a token is masked where its draw is below p.
    """
    is_masked = is_maskable & (draws < share[:, None])
    return Noised(mx.where(is_masked, mask_id, ids), is_masked, mx.where(is_masked, 1 / share[:, None], 0.0))


def mask_exactly(
    ids: Int[mx.array, "R T"],
    is_maskable: Bool[mx.array, "R T"],
    mask_id: int,
    counts: Float[mx.array, " R"],
    orders: Float[mx.array, "R T"],
) -> Noised:
    """Masks k of a row's N maskable tokens, k uniform in 1..N, weight N / k: same mean, less variance (LLaDA, eq. 6).

    Args:
        ids: Token ids.
        is_maskable: All real tokens of a text, the answer's of a conversation.
        mask_id: Stands for a masked token.
        counts: Uniform in [0, 1), one for each row: decide k.
        orders: Uniform in [0, 1), one for each token: the k smallest of a row's maskable ones are masked.
    """
    maskable = is_maskable.sum(axis=1, keepdims=True)  # (R, 1)
    count = mx.minimum(1 + mx.floor(counts[:, None] * maskable).astype(mx.int32), maskable)
    draws = mx.where(is_maskable, orders, 2.0)
    is_masked = is_maskable & (mx.argsort(mx.argsort(draws, axis=1), axis=1) < count)
    weight = mx.where(is_masked, maskable / mx.maximum(count, 1), 0.0)
    return Noised(mx.where(is_masked, mask_id, ids), is_masked, weight)


def diffusion_nll(logits: Float[mx.array, "R T V"], ids: Int[mx.array, "R T"], noised: Noised) -> Float[mx.array, ""]:
    """Weighted sum of -log p(token | rows with masks) over the masked tokens, each from its own position.

    Args:
        logits: Of a model that sees both ways.
        ids: Before masking.
        noised: The masks and weights.
    """
    return (noised.weight * nn.losses.cross_entropy(logits.astype(mx.float32), ids)).sum()


def mntp_nll(logits: Float[mx.array, "R T V"], ids: Int[mx.array, "R T"], noised: Noised) -> Float[mx.array, ""]:
    """Weighted sum of -log p of the masked tokens, each from the place before it (LLM2Vec, arXiv 2404.05961).

    The mask that counts is the predicted token's; the first token of a row is never predicted.
    """
    nll = nn.losses.cross_entropy(logits[:, :-1].astype(mx.float32), ids[:, 1:])
    return (noised.weight[:, 1:] * nll).sum()


def joint(diffusion: Float[mx.array, ""], causal: Float[mx.array, ""], share: float) -> Float[mx.array, ""]:
    """Diffusion weighted by `share` and causal by the rest, both means a token.

    >>> joint(mx.array(2.0), mx.array(1.0), 0.25).item()
    1.25
    """
    return share * diffusion + (1 - share) * causal
