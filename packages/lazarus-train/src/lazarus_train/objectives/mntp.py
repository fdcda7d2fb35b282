"""Masked next-token prediction (LLM2Vec, arXiv 2404.05961): makes a causal model attend in both directions.

R = rows, T = tokens a row, V = vocabulary
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt

from lazarus_models.backend import mx, nn
from lazarus_plan import BatchPlan
from lazarus_train.data.batches import Batch
from lazarus_train.data.dataset import Dataset
from lazarus_train.objective_registry import ObjectiveSettings
from lazarus_train.objectives.base import Metrics, Objective
from lazarus_train.objectives.forward import bidirectional_logits
from lazarus_train.objectives.masking import (
    SEEN,
    Noised,
    check_mask_is_free,
    draws_by_sample,
    mask_tokens,
    masked_rows,
    masks_of,
    with_masks,
)


class MntpSettings(ObjectiveSettings, frozen=True):
    """Masked tokens from the place before them (LLM2Vec, arXiv 2404.05961): makes a causal model see both ways."""

    kind: Literal["mntp"] = "mntp"
    mask_id: NonNegativeInt
    """The token that stands for a masked one; the data must not hold it."""
    mask_share: float = Field(default=0.2, gt=0.0, lt=1.0)
    """Share of tokens that is masked, LLM2Vec's."""


class MntpObjective(Objective[MntpSettings]):
    """Masked tokens, each predicted at the position before it."""

    settings_type = MntpSettings
    is_static = True

    def __init__(self, settings: MntpSettings) -> None:
        super().__init__(settings)
        self.token_ids = (settings.mask_id,)

    def loss_normalizer(self, plan: BatchPlan, dataset: Dataset, *, may_be_empty: bool = False) -> NDArray[np.int64]:
        """Label tokens of each step; refuses data that contains the mask."""
        check_mask_is_free(dataset, self.settings.mask_id)
        return super().loss_normalizer(plan, dataset, may_be_empty=may_be_empty)

    def prepare(self, batch: Batch, seed: int) -> Batch:
        """Tokens masked."""
        _, *keys = mx.random.split(mx.random.key(seed), batch.step_rows + 1)
        share = mx.full((len(batch.numbers),), self.settings.mask_share)
        return with_masks(
            batch, masked_rows(batch, batch.is_label, self.settings.mask_id, share, keys), batch.segment_ids
        )

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Sum over labels, each masked one counting for those that are not."""
        noised = masks_of(batch)
        return mntp_nll(bidirectional_logits(model, noised.ids, batch.random_inputs[SEEN]), batch.ids, noised), {}

    def measure(self, model: Any, batch: Batch, seed: int) -> tuple[mx.array, Metrics]:
        """The loss by one draw."""
        _, orders = draws_by_sample(batch, seed, 1)
        share = mx.full((len(batch.numbers),), self.settings.mask_share)
        noised = mask_tokens(batch.ids, batch.is_label, self.settings.mask_id, share, mx.array(orders[0]))
        return self.loss(model, with_masks(batch, noised, batch.segment_ids))


def mntp_nll(logits: Float[mx.array, "R T V"], ids: Int[mx.array, "R T"], noised: Noised) -> Float[mx.array, ""]:
    """Weighted sum of -log p of the masked tokens, each from the place before it (LLM2Vec, arXiv 2404.05961).

    The mask that counts is the predicted token's; the first token of a row is never predicted.
    """
    nll = nn.losses.cross_entropy(logits[:, :-1].astype(mx.float32), ids[:, 1:])
    return (noised.weight[:, 1:] * nll).sum()
