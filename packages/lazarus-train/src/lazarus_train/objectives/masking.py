"""Masks of tokens, shared by the objectives that predict masked tokens.

R = rows, T = tokens a row

Masks are drawn from a key of their own: the same key gives the same masks, whatever was drawn before.
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

SEEN = "seen"
"""Name of the segment ids that the model sees, among the random inputs of a batch."""


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


def check_mask_is_free(dataset: Dataset, mask_id: int) -> None:
    """Refuses data that contains the mask token.

    Args:
        dataset: The samples.
        mask_id: Token id of the mask.

    Raises:
        SetupError: The data contains it.
    """
    if (dataset.ids == mask_id).any():
        raise SetupError(f"`mask_id` {mask_id} stands in the data: a mask is to be told from a token", "LR-E133")


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
        draws = np.random.default_rng([seed, part.sample]).random((count, 1 + part.end - part.start), dtype=np.float32)
        by_token[:, part.row, part.start : part.end] = draws[:, 1:]
        if part.start == 0:
            by_row[:, part.row] = draws[:, 0]
    return by_row, by_token


def with_masks(batch: Batch, noised: Noised, seen: Int[mx.array, "R T"]) -> Batch:
    """Adds masks to the random inputs of a batch.

    Args:
        batch: The rows.
        noised: Their masks.
        seen: Segment ids that the model sees.
    """
    return replace(batch, random_inputs={**batch.random_inputs, **noised._asdict(), SEEN: seen})


def masks_of(batch: Batch) -> Noised:
    """The masks that `with_masks` added."""
    return Noised(**{name: batch.random_inputs[name] for name in Noised._fields})
