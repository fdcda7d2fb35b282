"""Masks of tokens, and losses of masked tokens.

R = rows, T = tokens per row, V = vocabulary

Masks have their own random key. The same key gives the same masks, independent of earlier draws.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from lazarus_models.backend import mx
from lazarus_train.data.batches import Batch
from lazarus_train.data.dataset import Dataset
from lazarus_train.errors import SetupError
from lazarus_train.objectives.next_token import token_nll

EPSILON = 1e-3
"""Smallest share of masked tokens (LLaDA's). It keeps the weights 1 / p below 1,000."""
SEEN = "seen"
"""Name of the model's segment ids among the random inputs of a batch."""


class Noised(NamedTuple):
    """Rows with some tokens masked.

    Args:
        ids: Input ids of the model, int (R, T).
        is_masked: Which tokens to predict, bool (R, T).
        weight: Loss weight of each masked token; 0 elsewhere; float (R, T).
    """

    ids: Int[mx.array, "R T"]
    is_masked: Bool[mx.array, "R T"]
    weight: Float[mx.array, "R T"]


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
        mask_id: Token id of the mask.
        share: Probability p of each row.
        draws: Uniform in [0, 1): a token is masked if its draw is below p.
    """
    # The weight 1 / p makes the expected sum over masked tokens equal the sum over all maskable tokens.
    is_masked = is_maskable & (draws < share[:, None])
    return Noised(mx.where(is_masked, mask_id, ids), is_masked, mx.where(is_masked, 1 / share[:, None], 0.0))


def check_mask_is_free(dataset: Dataset, mask_id: int) -> None:
    """Refuses data that contains the mask token.

    Args:
        dataset: The samples.
        mask_id: Token id of the mask.

    Raises:
        SetupError: The data contains it.
    """
    if (dataset.ids == mask_id).any():
        raise SetupError(
            f"`mask_id` {mask_id} occurs in the data: choose a token id that the data does not contain", "LR-E133"
        )


def masked_rows(
    batch: Batch, is_maskable: Bool[mx.array, "R T"], mask_id: int, share: Float[mx.array, " R"], keys: list[mx.array]
) -> Noised:
    """Masks some tokens of a batch, each row by a key of its own.

    Args:
        batch: Some rows of a step.
        is_maskable: Tokens that may be masked.
        mask_id: Token id of the mask.
        share: Probability of a mask in each row.
        keys: One key for each row of the step.
    """
    shape = (batch.ids.shape[1],)
    # One key per row of the whole step: masks do not depend on how rows are divided into micro-batches.
    draws = mx.stack([mx.random.uniform(shape=shape, key=keys[number]) for number in batch.numbers])
    return mask_tokens(batch.ids, is_maskable, mask_id, share, draws)


def draws_by_sample(batch: Batch, seed: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Uniform random numbers for held-out rows. They depend on the seed and the sample only.

    Args:
        batch: Held-out rows.
        seed: Seed of the measurement.
        count: Draws of each row.

    Returns:
        One number for each draw and row, from the row's first sample (count, R), and one for each token (count, R, T).
    """
    by_row = np.zeros((count, batch.ids.shape[0]), dtype=np.float32)
    by_token = np.zeros((count, *batch.ids.shape), dtype=np.float32)
    for part in batch.parts:
        # Seeded by the sample, so its numbers are the same in any batch. The first one sets the number of masks.
        draws = np.random.default_rng([seed, part.sample]).random((count, 1 + part.end - part.start), dtype=np.float32)
        by_token[:, part.row, part.start : part.end] = draws[:, 1:]
        if part.start == 0:
            by_row[:, part.row] = draws[:, 0]
    return by_row, by_token


def with_masks(batch: Batch, noised: Noised, seen: Int[mx.array, "R T"]) -> Batch:
    """Adds masks to the random inputs of a batch.

    Args:
        batch: The rows.
        noised: Masks of the rows.
        seen: Segment ids for the model, int (R, T).
    """
    return replace(batch, random_inputs={**batch.random_inputs, **noised._asdict(), SEEN: seen})


def masks_of(batch: Batch) -> Noised:
    """The masks that `with_masks` added."""
    return Noised(**{name: batch.random_inputs[name] for name in Noised._fields})


def mask_times(rows: int, key: mx.array) -> Float[mx.array, " R"]:
    """A time t in [0, 1) for each row of a step: t_i = (u + perm_i / R) mod 1.

    One u, uniform in [0, 1), is drawn per step, so each t_i is uniform and the times are evenly spaced. The
    permutation assigns strata to rows. Rows of a step are sorted by length; without the permutation, rows of similar
    length would get similar times.

    Args:
        rows: R, the rows of the whole step, over all micro-batches and ranks.
        key: Random key for u and the permutation.
    """
    # Separate keys: offset and permutation are independent.
    start_key, order_key = mx.random.split(key)
    strata = mx.random.permutation(rows, key=order_key)
    # u shifts all strata together; the remainder wraps the last ones to the start.
    return (mx.random.uniform(key=start_key) + strata / rows) % 1.0


def mask_share(times: Float[mx.array, " R"]) -> Float[mx.array, " R"]:
    """P = (1 - e) t + e."""
    return (1 - EPSILON) * times + EPSILON


def mask_exactly(
    ids: Int[mx.array, "R T"],
    is_maskable: Bool[mx.array, "R T"],
    mask_id: int,
    counts: Float[mx.array, " R"],
    orders: Float[mx.array, "R T"],
) -> Noised:
    """Masks k of a row's N maskable tokens, k uniform in 1..N, weight N / k: same mean, less variance (LLaDA, eq.
    6).

    Args:
        ids: Token ids.
        is_maskable: All real tokens of a text, the answer's of a conversation.
        mask_id: Token id of the mask.
        counts: Uniform in [0, 1), one for each row; determines k.
        orders: Uniform in [0, 1), one for each token: the k smallest of a row's maskable tokens are masked.
    """
    maskable = is_maskable.sum(axis=1, keepdims=True)  # (R, 1)
    # floor(u * N) + 1 is uniform in 1..N; the minimum guards against rounding of u * N up to N.
    count = mx.minimum(1 + mx.floor(counts[:, None] * maskable).astype(mx.int32), maskable)
    # 2 is above every draw, so tokens that must not be masked rank last.
    draws = mx.where(is_maskable, orders, 2.0)
    # argsort of argsort is the rank of each token in its row.
    is_masked = is_maskable & (mx.argsort(mx.argsort(draws, axis=1), axis=1) < count)
    # The maximum avoids a division by zero in rows without maskable tokens.
    weight = mx.where(is_masked, maskable / mx.maximum(count, 1), 0.0)
    return Noised(mx.where(is_masked, mask_id, ids), is_masked, weight)


def diffusion_nll(logits: Float[mx.array, "R T V"], ids: Int[mx.array, "R T"], noised: Noised) -> Float[mx.array, ""]:
    """Weighted sum of -log p(token | masked rows) over the masked tokens, each predicted at its own position.

    Args:
        logits: Logits of a bidirectional model, (R, T, V).
        ids: Token ids before masking, int (R, T).
        noised: The masks and weights.
    """
    return (noised.weight * token_nll(logits, ids)).sum()


def joint(diffusion: Float[mx.array, ""], causal: Float[mx.array, ""], share: float) -> Float[mx.array, ""]:
    """Weighted mean of two losses per token: `share` of diffusion and 1 - `share` of causal.

    >>> joint(mx.array(2.0), mx.array(1.0), 0.25).item()
    1.25

    Args:
        diffusion: Diffusion loss.
        causal: Next-token loss.
        share: Weight of diffusion, in [0, 1].
    """
    return share * diffusion + (1 - share) * causal


def mntp_nll(logits: Float[mx.array, "R T V"], ids: Int[mx.array, "R T"], noised: Noised) -> Float[mx.array, ""]:
    """Weighted sum of -log p of the masked tokens, each predicted at the previous position (LLM2Vec, arXiv
    2404.05961).

    Whether a position counts depends on the mask of the predicted token. The first token of a row is never
    predicted.

    Args:
        logits: Logits of a bidirectional model, (R, T, V).
        ids: Token ids before masking, int (R, T).
        noised: The masks and weights.
    """
    # Position t predicts token t + 1: logits without the last, ids and weights without the first.
    nll = token_nll(logits[:, :-1], ids[:, 1:])
    return (noised.weight[:, 1:] * nll).sum()
