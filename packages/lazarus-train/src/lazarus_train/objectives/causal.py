"""Next-token prediction: pre-training on texts, fine-tuning on answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from lazarus_train.objective_registry import ObjectiveSettings
from lazarus_train.objectives.base import Bindings, Metrics, Objective

if TYPE_CHECKING:
    from lazarus_models.backend import mx
    from lazarus_train.data.batches import Batch
    from lazarus_train.objectives.label_dropout import LabelDropout


class CausalSettings(ObjectiveSettings, frozen=True):
    """Next-token prediction: pre-training on texts, fine-tuning on answers."""

    kind: Literal["causal"] = "causal"
    label_dropout: float | None = Field(default=None, ge=0.0, lt=1.0)
    """Images: share of samples whose label is hidden, drawn again in every step, for guidance: 0.1. Default: none."""

    allows_generation: ClassVar[bool] = True
    image_method: ClassVar[Literal["diffusion", "next-token"] | None] = "next-token"


class CausalObjective(Objective[CausalSettings]):
    """Negative log-likelihood of each label given the preceding tokens."""

    settings_type = CausalSettings
    is_static = True

    def __init__(self, settings: CausalSettings | None = None) -> None:
        super().__init__(settings)
        self._label_dropout: LabelDropout | None = None

    def bind(self, bindings: Bindings) -> CausalObjective:
        """The objective with the labels of images.

        Args:
            bindings: Data and tokenizer.

        Raises:
            SetupError: `label_dropout` is set, and the data are not images.
        """
        from lazarus_train.objectives.label_dropout import LabelDropout

        bound = CausalObjective(self.settings)
        bound._label_dropout = LabelDropout.of(self.settings.label_dropout, bindings.dataset, bindings.tokenizer)
        return bound

    def prepare(self, batch: Batch, seed: int) -> Batch:
        """Hides labels of images, if that is set.

        Args:
            batch: Some rows of a step.
            seed: Seed of the step.
        """
        return batch if self._label_dropout is None else self._label_dropout.apply(batch, seed)

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
