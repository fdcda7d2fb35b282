"""Masked next-token prediction (LLM2Vec, arXiv 2404.05961): makes a causal model attend in both directions.

R = rows, T = tokens a row, V = vocabulary
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, NonNegativeInt

from lazarus_train.objective_registry import ObjectiveSettings
from lazarus_train.objectives.base import Metrics, Objective

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lazarus_models.backend import mx
    from lazarus_plan import BatchPlan
    from lazarus_train.data.batches import Batch
    from lazarus_train.data.dataset import Dataset


class MntpSettings(ObjectiveSettings, frozen=True):
    """Predicts masked tokens at the previous position (LLM2Vec, arXiv 2404.05961): adapts a causal model to
    bidirectional attention.
    """

    kind: Literal["mntp"] = "mntp"
    mask_id: NonNegativeInt
    """Token id of the mask; the data must not contain it."""
    mask_share: float = Field(default=0.2, gt=0.0, lt=1.0)
    """Share of masked tokens. The default is LLM2Vec's."""


class MntpObjective(Objective[MntpSettings]):
    """Masked tokens, each predicted at the position before it."""

    settings_type = MntpSettings
    is_static = True

    def __init__(self, settings: MntpSettings) -> None:
        super().__init__(settings)
        self.token_ids = (settings.mask_id,)

    def loss_normalizer(self, plan: BatchPlan, dataset: Dataset, *, may_be_empty: bool = False) -> NDArray[np.int64]:
        """Label tokens of each step. Refuses data that contains the mask.

        Args:
            plan: The steps.
            dataset: Samples of the plan.
            may_be_empty: Whether a step may have no label. Held-out steps may.

        Returns:
            Number of labels of each step, int64 (S,).

        Raises:
            SetupError: The data contains `mask_id`, or a step has no label.
        """
        from lazarus_train.objectives.masking import check_mask_is_free

        check_mask_is_free(dataset, self.settings.mask_id)
        return super().loss_normalizer(plan, dataset, may_be_empty=may_be_empty)

    def prepare(self, batch: Batch, seed: int) -> Batch:
        """Masks tokens.

        Args:
            batch: Some rows of a step.
            seed: Seed of the step.
        """
        from lazarus_models.backend import mx
        from lazarus_train.objectives.masking import masked_rows, with_masks

        # One key per row of the whole step, as in `diffusion`; the first key is unused.
        _, *keys = mx.random.split(mx.random.key(seed), batch.step_rows + 1)
        share = mx.full((len(batch.numbers),), self.settings.mask_share)
        return with_masks(
            batch, masked_rows(batch, batch.is_label, self.settings.mask_id, share, keys), batch.segment_ids
        )

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Weighted sum over masked labels, in nats; each weight accounts for the unmasked labels.

        Args:
            model: A language model, computed with bidirectional attention.
            batch: From `prepare` or `measure`: masked ids and weights are in `random_inputs`.

        Returns:
            The sum, float32 (), and no metrics.
        """
        from lazarus_train.objectives.forward import bidirectional_logits
        from lazarus_train.objectives.masking import SEEN, masks_of, mntp_nll

        noised = masks_of(batch)
        return mntp_nll(bidirectional_logits(model, noised.ids, batch.random_inputs[SEEN]), batch.ids, noised), {}

    def measure(self, model: Any, batch: Batch, seed: int) -> tuple[mx.array, Metrics]:
        """The loss from one mask draw.

        Args:
            model: The model, in evaluation mode.
            batch: Held-out rows.
            seed: Seed of the measurement.
        """
        from lazarus_models.backend import mx
        from lazarus_train.objectives.masking import draws_by_sample, mask_tokens, with_masks

        _, orders = draws_by_sample(batch, seed, 1)
        share = mx.full((len(batch.numbers),), self.settings.mask_share)
        noised = mask_tokens(batch.ids, batch.is_label, self.settings.mask_id, share, mx.array(orders[0]))
        return self.loss(model, with_masks(batch, noised, batch.segment_ids))
