"""Next-token prediction: pre-training on texts, fine-tuning on answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lazarus_train.objective_registry import ObjectiveSettings
from lazarus_train.objectives.base import Metrics, Objective

if TYPE_CHECKING:
    from lazarus_models.backend import mx
    from lazarus_train.data.batches import Batch


class CausalSettings(ObjectiveSettings, frozen=True):
    """Next-token prediction: pre-training on texts, fine-tuning on answers."""

    kind: Literal["causal"] = "causal"

    allows_generation: ClassVar[bool] = True


class CausalObjective(Objective[CausalSettings]):
    """Negative log-likelihood of each label given the preceding tokens."""

    settings_type = CausalSettings
    is_static = True

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Sum of the negative log-likelihoods, in nats.

        Args:
            model: A causal language model.
            batch: Packed rows; `is_label` selects the tokens that count.

        Returns:
            The sum, float32 (), and no metrics.
        """
        from lazarus_train.objectives.forward import causal_sum

        return causal_sum(model, batch), {}
