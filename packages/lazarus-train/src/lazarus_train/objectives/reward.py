"""Reward models: a score that is higher for the better of two answers (Bradley-Terry). P = pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import NonNegativeFloat

from lazarus_train.objective_registry import ObjectiveSettings
from lazarus_train.objectives.base import Metrics, Objective

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lazarus_models.backend import mx
    from lazarus_plan import BatchPlan
    from lazarus_tokenkit import Tokenizer
    from lazarus_train.data.batches import Batch
    from lazarus_train.data.dataset import Dataset
    from lazarus_train.objectives.sequence_head import SequenceHead


class RewardSettings(ObjectiveSettings, frozen=True):
    """A score that is higher for the better of two answers (Bradley-Terry)."""

    kind: Literal["reward"] = "reward"
    center: NonNegativeFloat = 0.0
    """Weight of (chosen + rejected)^2, which keeps rewards near zero; 0.01 is usual (arXiv 2312.09244)."""


class RewardObjective(Objective[RewardSettings]):
    """One score per answer, computed at its last token."""

    settings_type = RewardSettings
    unit = "pair"
    metrics = ("reward_margin", "reward_accuracy")
    baseline = 0.5

    def loss_normalizer(self, plan: BatchPlan, dataset: Dataset, *, may_be_empty: bool = False) -> NDArray[np.int64]:
        """Pairs of each step.

        Args:
            plan: The steps.
            dataset: Pairs of answers.
            may_be_empty: Not used: every step of a plan has a sample.

        Returns:
            Number of pairs of each step, int64 (S,).

        Raises:
            SetupError: A sample is not a pair, is truncated or split, or has an empty answer.
        """
        from lazarus_train.objectives.loss_normalizer import samples_by_step

        return samples_by_step(plan, dataset, pairs=True)

    def sequence_head(self, dataset: Dataset, tokenizer: Tokenizer) -> SequenceHead:
        """One score for each answer.

        Args:
            dataset: Not used: the head is the same for all data.
            tokenizer: Not used.
        """
        from lazarus_train.objectives.sequence_head import SequenceHead

        return SequenceHead(("reward",), "regression")

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Bradley-Terry loss in nats, summed over pairs.

        Args:
            model: A model with one score.
            batch: Whole pairs; parts alternate between chosen and rejected.

        Returns:
            The sum, float32 (), and sums of the reward margin and the accuracy (a tie counts one half).
        """
        from lazarus_train.objectives.forward import part_scores
        from lazarus_train.objectives.losses.preference_losses import as_pairs
        from lazarus_train.objectives.losses.score_losses import bradley_terry

        scores = part_scores(model, batch, [part.end - 1 for part in batch.parts])[:, 0]
        return bradley_terry(*as_pairs(scores), center=self.settings.center)
