"""Classification: predicts one of a fixed set of answers to a question. B = samples, C = classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator

from lazarus_core.printable import listed
from lazarus_train.errors import SetupError
from lazarus_train.objective_registry import ObjectiveSettings
from lazarus_train.objectives.base import Bindings, Metrics, Objective

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from lazarus_models.backend import mx
    from lazarus_plan import BatchPlan
    from lazarus_tokenkit import Tokenizer
    from lazarus_train.data.batches import Batch
    from lazarus_train.data.dataset import Dataset
    from lazarus_train.objectives.sequence_head import SequenceHead


_MOST_NAMED = 8
"""Largest number of classes that a message lists."""


class ClassificationSettings(ObjectiveSettings, frozen=True):
    """One score per class, computed at the last token before the answer."""

    kind: Literal["classification"] = "classification"
    classes: tuple[str, ...] = ()
    """Names of the classes. Empty uses the answers in the data, in alphabetical order."""

    @model_validator(mode="after")
    def _classes_differ(self) -> ClassificationSettings:
        if any(name != name.strip() or not name for name in self.classes):
            raise ValueError(
                f"`classes` {listed(self.classes)}: one is empty or has spaces around it, which no answer has"
            )
        if len(set(self.classes)) < len(self.classes) or len(self.classes) == 1:
            raise ValueError(f"`classes` {listed(self.classes)}: give two or more, each once")
        return self


class ClassificationObjective(Objective[ClassificationSettings]):
    """One score per class, computed at the last token before the answer.

    Args:
        settings: The objective's settings.
        labels: Class index of each sample, int32 (N,); from `bind`.
    """

    settings_type = ClassificationSettings
    unit = "sample"
    metrics = ("accuracy",)

    def __init__(self, settings: ClassificationSettings | None = None, labels: NDArray[np.int32] | None = None) -> None:
        super().__init__(settings)
        self._labels = labels
        if labels is not None:  # always the most frequent class
            self.baseline = float(max((labels == label).sum() for label in set(labels.tolist())) / len(labels))

    def loss_normalizer(self, plan: BatchPlan, dataset: Dataset, *, may_be_empty: bool = False) -> NDArray[np.int64]:
        """Samples of each step.

        Args:
            plan: The steps.
            dataset: Questions with one answer each.
            may_be_empty: Not used: every step of a plan has a sample.

        Returns:
            Number of samples of each step, int64 (S,).

        Raises:
            SetupError: A sample is a pair of answers, is truncated or split, or has no answer.
        """
        from lazarus_train.objectives.loss_normalizer import samples_by_step

        return samples_by_step(plan, dataset, pairs=False)

    def sequence_head(self, dataset: Dataset, tokenizer: Tokenizer) -> SequenceHead:
        """One score for each class. Classes come from the settings, or from the data in alphabetical order.

        Args:
            dataset: The training data. Its answers are read if the settings name no classes.
            tokenizer: The tokenizer that encoded it; decodes the answers.

        Raises:
            SetupError: The data has only one class.
        """
        from lazarus_train.objectives.loss_normalizer import answers
        from lazarus_train.objectives.sequence_head import SequenceHead

        classes = self.settings.classes or tuple(sorted(set(answers(dataset, tokenizer))))
        if len(classes) < 2:
            raise SetupError(
                f"every answer of the data is {''.join(classes)!r}, and a classifier needs two classes: give rows of "
                "several, or name all of them as `classes`",
                "LR-E138",
            )
        return SequenceHead(classes, "single_label_classification")

    def warnings(self, dataset: Dataset, head: SequenceHead | None) -> Iterable[str]:
        """Warns if there are more classes than half the number of samples, which suggests free text.

        Args:
            dataset: The training data.
            head: The classes; None gives no warning.
        """
        if head is not None and 2 * len(head.outputs) > len(dataset):
            yield (
                f"warning: the {len(dataset)} answers form {len(head.outputs)} classes, so most occur once; to train a model that "
                "writes these texts, use `sft`"
            )

    def bind(self, bindings: Bindings) -> ClassificationObjective:
        """The objective with the class of each sample.

        Raises:
            SetupError: An answer is not a class.
        """
        assert bindings.head is not None, "classes are scored"
        labels = classes_of(bindings.dataset, bindings.tokenizer, bindings.head.outputs)
        return ClassificationObjective(self.settings, labels)

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Cross-entropy in nats, summed over samples.

        Args:
            model: A model with one score per class.
            batch: Rows whose parts name sample and position of the answer.

        Returns:
            The sum, float32 (), and the number of correct predictions as `accuracy`.
        """
        from lazarus_models.backend import mx
        from lazarus_train.objectives.forward import part_scores
        from lazarus_train.objectives.losses.score_losses import classification

        scores = part_scores(model, batch, [part.answer - 1 for part in batch.parts])
        assert self._labels is not None, "`bind` comes first"
        return classification(scores, mx.array(self._labels[[part.sample for part in batch.parts]]))


def classes_of(dataset: Dataset, tokenizer: Tokenizer, classes: Sequence[str]) -> NDArray[np.int32]:
    """Class index of each answer, int32 (N,).

    Args:
        dataset: The samples.
        tokenizer: The tokenizer that encoded them.
        classes: Names of the classes.

    Raises:
        SetupError: An answer is not a class.
    """
    import numpy as np

    from lazarus_train.objectives.loss_normalizer import answers

    number = {name: place for place, name in enumerate(classes)}
    spelled = answers(dataset, tokenizer)
    for index, text in enumerate(spelled):
        if text not in number:
            known = ", ".join(map(repr, classes[:_MOST_NAMED])) + (", .." if len(classes) > _MOST_NAMED else "")
            raise SetupError(
                f"{dataset.place(index)}: {text!r} is none of the {len(classes)} classes {known}; leave this row out, or "
                "give all classes as `classes`",
                "LR-E137",
            )
    return np.array([number[text] for text in spelled], dtype=np.int32)
