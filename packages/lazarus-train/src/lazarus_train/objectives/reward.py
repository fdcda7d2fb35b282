"""Reward models: a score that is higher for the better of two answers (Bradley-Terry). P = pairs."""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import NonNegativeFloat

from lazarus_models.backend import mx
from lazarus_plan import BatchPlan
from lazarus_tokenkit import Tokenizer
from lazarus_train.data.batches import Batch
from lazarus_train.data.dataset import Dataset
from lazarus_train.objective_registry import ObjectiveSettings
from lazarus_train.objectives.base import Metrics, Objective
from lazarus_train.objectives.forward import part_scores
from lazarus_train.objectives.loss_normalizer import samples_by_step
from lazarus_train.objectives.preference_losses import as_pairs, log_sigmoid, wins
from lazarus_train.objectives.sequence_head import SequenceHead


class RewardSettings(ObjectiveSettings, frozen=True):
    """A score that is higher for the better of two answers (Bradley-Terry)."""

    kind: Literal["reward"] = "reward"
    center: NonNegativeFloat = 0.0
    """Weight of (chosen + rejected)^2, which keeps rewards near zero; 0.01 is usual (arXiv 2312.09244)."""


class RewardObjective(Objective[RewardSettings]):
    """A score for each answer, read at its last token."""

    settings_type = RewardSettings
    unit = "pair"
    metrics = ("reward_margin", "reward_accuracy")
    baseline = 0.5

    def loss_normalizer(self, plan: BatchPlan, dataset: Dataset, *, may_be_empty: bool = False) -> NDArray[np.int64]:
        """Pairs of each step."""
        return samples_by_step(plan, dataset, pairs=True)

    def sequence_head(self, dataset: Dataset, tokenizer: Tokenizer) -> SequenceHead:
        """One score."""
        return SequenceHead(("reward",), "regression")

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Sum over pairs, with margin and accuracy."""
        scores = part_scores(model, batch, [part.end - 1 for part in batch.parts])[:, 0]
        return bradley_terry(*as_pairs(scores), center=self.settings.center)


def bradley_terry(
    chosen: Float[mx.array, " P"], rejected: Float[mx.array, " P"], center: float = 0.0
) -> tuple[Float[mx.array, ""], Metrics]:
    """-log s(chosen - rejected), s the logistic function (Bradley and Terry 1952; Ouyang et al. 2022, eq. 1).

    Args:
        chosen: Rewards of the better answers.
        rejected: Of the worse.
        center: Weight of (chosen + rejected)^2, which keeps rewards near zero (Eisenstein et al. 2023).

    Returns:
        The loss, and `reward_margin` and `reward_accuracy` (a tie counts one half).
    """
    losses = -log_sigmoid(chosen - rejected) + center * mx.square(chosen + rejected)
    metrics = {"reward_margin": (chosen - rejected).sum(), "reward_accuracy": wins(chosen, rejected).sum()}
    return losses.sum(), {name: mx.stop_gradient(metric) for name, metric in metrics.items()}
