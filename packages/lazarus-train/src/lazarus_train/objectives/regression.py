"""Regression: predicts a number as the answer to a question. B = samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from lazarus_train.errors import SetupError
from lazarus_train.objective_registry import ObjectiveSettings
from lazarus_train.objectives.base import Bindings, Metrics, Objective

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lazarus_models.backend import mx
    from lazarus_plan import BatchPlan
    from lazarus_tokenkit import Tokenizer
    from lazarus_train.data.batches import Batch
    from lazarus_train.data.dataset import Dataset
    from lazarus_train.objectives.sequence_head import SequenceHead


class RegressionSettings(ObjectiveSettings, frozen=True):
    """One number per question, predicted by a linear layer."""

    kind: Literal["regression"] = "regression"


class RegressionObjective(Objective[RegressionSettings]):
    """One number per question, computed at the last token before the answer.

    Args:
        settings: The objective's settings.
        targets: The number of each sample, float32 (N,); from `bind`.
    """

    settings_type = RegressionSettings
    unit = "sample"
    metrics = ("absolute_error",)

    def __init__(self, settings: RegressionSettings | None = None, targets: NDArray[np.float32] | None = None) -> None:
        super().__init__(settings)
        self._targets = targets

    def loss_normalizer(self, plan: BatchPlan, dataset: Dataset, *, may_be_empty: bool = False) -> NDArray[np.int64]:
        """Samples of each step.

        Args:
            plan: The steps.
            dataset: Questions with one number each as answer.
            may_be_empty: Not used: every step of a plan has a sample.

        Returns:
            Number of samples of each step, int64 (S,).

        Raises:
            SetupError: A sample is a pair of answers, is truncated or split, or has no answer.
        """
        from lazarus_train.objectives.loss_normalizer import samples_by_step

        return samples_by_step(plan, dataset, pairs=False)

    def sequence_head(self, dataset: Dataset, tokenizer: Tokenizer) -> SequenceHead:
        """One value for each question.

        Args:
            dataset: Not used: the head is the same for all data.
            tokenizer: Not used.
        """
        from lazarus_train.objectives.sequence_head import SequenceHead

        return SequenceHead(("value",), "regression")

    def bind(self, bindings: Bindings) -> RegressionObjective:
        """The objective with the number of each sample.

        Raises:
            SetupError: An answer is not a number.
        """
        return RegressionObjective(self.settings, numbers(bindings.dataset, bindings.tokenizer))

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Squared error summed over samples.

        Args:
            model: A model with one score.
            batch: Rows whose parts name sample and position of the answer.

        Returns:
            The sum, float32 (), and the sum of absolute errors as `absolute_error`.
        """
        from lazarus_models.backend import mx
        from lazarus_train.objectives.forward import part_scores
        from lazarus_train.objectives.losses.score_losses import regression

        scores = part_scores(model, batch, [part.answer - 1 for part in batch.parts])
        assert self._targets is not None, "`bind` comes first"
        return regression(scores, mx.array(self._targets[[part.sample for part in batch.parts]]))


def numbers(dataset: Dataset, tokenizer: Tokenizer) -> NDArray[np.float32]:
    """Answers as numbers.

    Args:
        dataset: The samples.
        tokenizer: The tokenizer that encoded them.

    Raises:
        SetupError: An answer is not a number.
    """
    import numpy as np

    from lazarus_train.objectives.loss_normalizer import answers

    found: list[float] = []
    for index, text in enumerate(answers(dataset, tokenizer)):
        number = _as_number(text)
        if number is None:
            raise SetupError(f"{dataset.place(index)}: {text!r} is not a number, as regression requires", "LR-E131")
        found.append(number)
    return np.array(found, dtype=np.float32)


def _as_number(text: str) -> float | None:
    """A finite number in single precision, or None."""
    import numpy as np

    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) <= np.finfo(np.float32).max else None
