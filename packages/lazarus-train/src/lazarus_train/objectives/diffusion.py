"""Masked diffusion (LLaDA, arXiv 2502.09992): predicts masked tokens from all other tokens.

R = rows, T = tokens per row, V = vocabulary

Losses are sums over the maskable tokens. Divided by their number, they are an upper bound on -log p per token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from lazarus_train.objective_registry import ObjectiveSettings
from lazarus_train.objectives.base import Bindings, Metrics, Objective

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lazarus_models.backend import mx
    from lazarus_plan import BatchPlan
    from lazarus_train.data.batches import Batch
    from lazarus_train.data.dataset import Dataset
    from lazarus_train.objectives.label_dropout import LabelDropout


class DiffusionSettings(ObjectiveSettings, frozen=True):
    """Masked diffusion (arXiv 2502.09992). The first token of a sample is never masked."""

    kind: Literal["diffusion"] = "diffusion"
    mask_id: NonNegativeInt
    """Token id of the mask; the data must not contain it."""
    causal_share: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Weight of an additional next-token loss: the joint loss."""
    truncated_share: float = Field(default=0.01, ge=0.0, le=1.0)
    """Share of samples that are truncated to a random length, drawn again in every step. Use LLaDA's share for
    pre-training and 0 for fine-tuning on answers.
    """
    draws: PositiveInt = 128
    """Number of mask draws that a held-out loss averages over. The default is LLaDA's."""
    label_dropout: float | None = Field(default=None, ge=0.0, lt=1.0)
    """Images: share of samples whose label is hidden, drawn again in every step, for guidance: 0.1. Default: none."""

    image_method: ClassVar[Literal["diffusion", "next-token"] | None] = "diffusion"

    @property
    def inference_settings(self) -> dict[str, int]:
        """The mask, which inference must know, and a total length."""
        return {"mask_token": self.mask_id, "total_length": 64}


class DiffusionObjective(Objective[DiffusionSettings]):
    """Masked diffusion; with `causal_share`, next-token prediction too."""

    settings_type = DiffusionSettings
    is_static = True
    held_out_mode = "padded"  # the number of masks is drawn for each row

    def __init__(self, settings: DiffusionSettings) -> None:
        super().__init__(settings)
        self.metrics = ("diffusion_loss", "causal_loss") if settings.causal_share else ()
        self.token_ids = (settings.mask_id,)
        self._label_dropout: LabelDropout | None = None

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

    def bind(self, bindings: Bindings) -> DiffusionObjective:
        """The objective with the labels of images.

        Args:
            bindings: Data and tokenizer.

        Raises:
            SetupError: `label_dropout` is set, and the data are not images; or the mask is not that of the tokenizer.
        """
        from lazarus_train.objectives.label_dropout import LabelDropout, check_mask_of_images

        check_mask_of_images(self.settings.mask_id, bindings.tokenizer)
        bound = DiffusionObjective(self.settings)
        bound._label_dropout = LabelDropout.of(self.settings.label_dropout, bindings.dataset, bindings.tokenizer)
        return bound

    def prepare(self, batch: Batch, seed: int) -> Batch:
        """Hides labels of images, truncates samples and masks tokens. Mask times are evenly spaced over the rows of the whole step, in
        random order.

        Args:
            batch: Some rows of a step.
            seed: Seed of the step.
        """
        from lazarus_models.backend import mx
        from lazarus_train.objectives.masking import mask_share, mask_times, masked_rows, with_masks
        from lazarus_train.objectives.truncation import truncate

        if self._label_dropout is not None:
            batch = self._label_dropout.apply(batch, seed)
        # One key for the times and one per row of the whole step, equal on every rank.
        first, *keys = mx.random.split(mx.random.key(seed), batch.step_rows + 1)
        # Times of all rows of the step; then those of the rows in this batch.
        times = mask_times(batch.step_rows, first)[mx.array(batch.numbers)]
        cut = truncate(batch, self.settings.truncated_share, seed)
        noised = masked_rows(batch, cut.is_label, self.settings.mask_id, mask_share(times), keys)
        # Weights multiply: 1 / p for masking, and the correction for truncated labels.
        return with_masks(batch, noised._replace(weight=cut.weight * noised.weight), cut.segment_ids)

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Masked-diffusion loss in nats, summed over labels; joined with the next-token loss if `causal_share` is above 0.

        Args:
            model: A language model; attention is bidirectional for the masked rows.
            batch: From `prepare`: masked ids, weights and visible segments are in `random_inputs`.

        Returns:
            The sum, float32 (), and with `causal_share` both parts as metrics.
        """
        from lazarus_models.backend import mx
        from lazarus_train.objectives.forward import bidirectional_logits, causal_sum
        from lazarus_train.objectives.masking import SEEN, diffusion_nll, joint, masks_of

        noised = masks_of(batch)
        diffusion = diffusion_nll(bidirectional_logits(model, noised.ids, batch.random_inputs[SEEN]), batch.ids, noised)
        share = self.settings.causal_share
        if not share:
            return diffusion, {}
        causal = causal_sum(model, batch)
        # Reported only: no gradient flows through the metrics.
        parts = {"diffusion_loss": mx.stop_gradient(diffusion), "causal_loss": mx.stop_gradient(causal)}
        return joint(diffusion, causal, 1 - share), parts

    def measure(self, model: Any, batch: Batch, seed: int) -> tuple[mx.array, Metrics]:
        """The bound, from `draws` draws of exactly k masks per row. Each row contains one sample.

        Args:
            model: The model, in evaluation mode.
            batch: Held-out rows.
            seed: Seed of the measurement.
        """
        from lazarus_models.backend import mx
        from lazarus_models.trees import evaluate
        from lazarus_train.objectives.forward import bidirectional_logits, causal_sum
        from lazarus_train.objectives.masking import diffusion_nll, draws_by_sample, joint, mask_exactly

        counts, orders = draws_by_sample(batch, seed, self.settings.draws)
        total = mx.array(0.0)
        for count, order in zip(counts, orders, strict=True):
            noised = mask_exactly(batch.ids, batch.is_label, self.settings.mask_id, mx.array(count), mx.array(order))
            total = total + diffusion_nll(bidirectional_logits(model, noised.ids, batch.segment_ids), batch.ids, noised)
            # Evaluate each draw, so that only one forward pass is in memory.
            evaluate(total)
        diffusion = total / self.settings.draws
        share = self.settings.causal_share
        if not share:
            return diffusion, {}
        causal = causal_sum(model, batch)
        # `share` is the causal one; `joint` takes diffusion's.
        return joint(diffusion, causal, 1 - share), {"diffusion_loss": diffusion, "causal_loss": causal}
