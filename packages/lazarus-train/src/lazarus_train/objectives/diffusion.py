"""Masked diffusion (LLaDA, arXiv 2502.09992): mask some tokens, predict them from all the others.

R = rows, T = tokens a row, V = vocabulary

Losses are sums over the maskable tokens; divided by the number of those, they are an upper bound on -log p per token.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from lazarus_models.backend import mx, nn
from lazarus_models.trees import evaluate
from lazarus_plan import BatchPlan
from lazarus_train.data.batches import Batch
from lazarus_train.data.dataset import Dataset
from lazarus_train.objective_registry import ObjectiveSettings
from lazarus_train.objectives.base import Metrics, Objective
from lazarus_train.objectives.forward import bidirectional_logits, causal_sum
from lazarus_train.objectives.masking import (
    SEEN,
    Noised,
    check_mask_is_free,
    draws_by_sample,
    masked_rows,
    masks_of,
    with_masks,
)
from lazarus_train.objectives.truncation import truncate

EPSILON = 1e-3
"""The smallest share of tokens that is masked (LLaDA's): keeps the weights 1 / p below 1,000."""


class DiffusionSettings(ObjectiveSettings, frozen=True):
    """Masked tokens from all the others (arXiv 2502.09992); the first token of a sample is never masked."""

    kind: Literal["diffusion"] = "diffusion"
    mask_id: NonNegativeInt
    """The token that stands for a masked one; the data must not hold it."""
    causal_share: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Weight of next-token prediction beside it: the joint loss."""
    truncated_share: float = Field(default=0.01, ge=0.0, le=1.0)
    """Share of samples that diffusion sees cut to a random length, anew in every step; LLaDA's in pre-training, 0 when it
    learns answers."""
    draws: PositiveInt = 128
    """Draws of masks that a held-out loss is the mean of, LLaDA's number."""


class DiffusionObjective(Objective[DiffusionSettings]):
    """Masked tokens; with `causal_share`, next-token prediction too."""

    settings_type = DiffusionSettings
    is_static = True
    held_out_mode = "padded"  # the number of masks is drawn for each row

    def __init__(self, settings: DiffusionSettings) -> None:
        super().__init__(settings)
        self.metrics = ("diffusion_loss", "causal_loss") if settings.causal_share else ()
        self.token_ids = (settings.mask_id,)

    def loss_normalizer(self, plan: BatchPlan, dataset: Dataset, *, may_be_empty: bool = False) -> NDArray[np.int64]:
        """Label tokens of each step; refuses data that contains the mask."""
        check_mask_is_free(dataset, self.settings.mask_id)
        return super().loss_normalizer(plan, dataset, may_be_empty=may_be_empty)

    def prepare(self, batch: Batch, seed: int) -> Batch:
        """Samples cut, tokens masked; times spread evenly over the rows of the whole step, in an order drawn anew."""
        first, *keys = mx.random.split(mx.random.key(seed), batch.step_rows + 1)
        times = mask_times(batch.step_rows, first)[mx.array(batch.numbers)]
        cut = truncate(batch, self.settings.truncated_share, seed)
        noised = masked_rows(batch, cut.is_label, self.settings.mask_id, mask_share(times), keys)
        return with_masks(batch, noised._replace(weight=cut.weight * noised.weight), cut.segment_ids)

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Sum over labels."""
        noised = masks_of(batch)
        diffusion = diffusion_nll(bidirectional_logits(model, noised.ids, batch.random_inputs[SEEN]), batch.ids, noised)
        share = self.settings.causal_share
        if not share:
            return diffusion, {}
        causal = causal_sum(model, batch)
        parts = {"diffusion_loss": mx.stop_gradient(diffusion), "causal_loss": mx.stop_gradient(causal)}
        return joint(diffusion, causal, 1 - share), parts

    def measure(self, model: Any, batch: Batch, seed: int) -> tuple[mx.array, Metrics]:
        """The bound by `draws` draws of exactly k masks a row, each row holding one sample."""
        counts, orders = draws_by_sample(batch, seed, self.settings.draws)
        total = mx.array(0.0)
        for count, order in zip(counts, orders, strict=True):
            noised = mask_exactly(batch.ids, batch.is_label, self.settings.mask_id, mx.array(count), mx.array(order))
            total = total + diffusion_nll(bidirectional_logits(model, noised.ids, batch.segment_ids), batch.ids, noised)
            evaluate(total)
        diffusion = total / self.settings.draws
        share = self.settings.causal_share
        if not share:
            return diffusion, {}
        causal = causal_sum(model, batch)
        return joint(diffusion, causal, 1 - share), {"diffusion_loss": diffusion, "causal_loss": causal}


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


def joint(diffusion: Float[mx.array, ""], causal: Float[mx.array, ""], share: float) -> Float[mx.array, ""]:
    """Diffusion weighted by `share` and causal by the rest, both means a token.

    >>> joint(mx.array(2.0), mx.array(1.0), 0.25).item()
    1.25
    """
    return share * diffusion + (1 - share) * causal
