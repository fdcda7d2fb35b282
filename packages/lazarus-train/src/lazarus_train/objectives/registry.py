"""What the one training loop minimises: an objective, with the model's forward pass that it reads.

R = rows, P = parts, V = vocabulary
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lazarus_models.backend import mx
from lazarus_models.trees import evaluate
from lazarus_tokenkit import Tokenizer
from lazarus_train.data.batches import Batch
from lazarus_train.data.dataset import Dataset
from lazarus_train.errors import SetupError
from lazarus_train.objectives.base import Certain, Survey, Task
from lazarus_train.objectives.diffusion import (
    Noised,
    diffusion_nll,
    joint,
    mask_exactly,
    mask_share,
    mask_times,
    mask_tokens,
    mntp_nll,
)
from lazarus_train.objectives.forward import (
    bidirectional_logits,
    causal_sum,
    log_probabilities_with_prompts,
    part_log_probabilities,
    part_scores,
)
from lazarus_train.objectives.loss_normalizer import answers, classes_of, numbers
from lazarus_train.objectives.preference import (
    DESIRABLE_SCALE,
    POINT,
    UNDESIRABLE_SCALE,
    Answers,
    Metrics,
    labelled_losses,
    preference_loss,
)
from lazarus_train.objectives.scores import bradley_terry, classification, regression
from lazarus_train.objectives.sequence import Head
from lazarus_train.objectives.settings import (
    CausalSettings,
    ClassificationSettings,
    DiffusionSettings,
    MntpSettings,
    ObjectiveSettings,
    PreferenceSettings,
    RegressionSettings,
    RewardSettings,
)
from lazarus_train.objectives.surveys import Reference, survey_of
from lazarus_train.objectives.truncation import truncate


@dataclass(frozen=True)
class CausalTask(Certain):
    """The next token."""

    unit: str = "token"
    metrics: tuple[str, ...] = ()
    baseline: None = None
    is_static: bool = True

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Sum over labels."""
        return causal_sum(model, batch), {}


@dataclass(frozen=True)
class DiffusionTask:
    """Masked tokens, and the next token beside them where that is asked for."""

    settings: DiffusionSettings
    unit: str = "token"
    baseline: None = None
    is_static: bool = True
    survey: None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """Both parts of a joint loss."""
        return ("diffusion_loss", "causal_loss") if self.settings.causal_share else ()

    def draw(self, batch: Batch, seed: int) -> Batch:
        """Samples cut, tokens masked; times spread evenly over the rows of the whole step, in an order drawn anew."""
        first, *keys = mx.random.split(mx.random.key(seed), batch.step_rows + 1)
        times = mask_times(batch.step_rows, first)[mx.array(batch.numbers)]
        cut = truncate(batch, self.settings.truncated_share, seed)
        noised = _masked(batch, cut.is_label, self.settings.mask_id, mask_share(times), keys)
        return _with_masks(batch, noised._replace(weight=cut.weight * noised.weight), cut.segment_ids)

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Sum over labels."""
        noised = _masks(batch)
        diffusion = diffusion_nll(bidirectional_logits(model, noised.ids, batch.drawn["seen"]), batch.ids, noised)
        share = self.settings.causal_share
        if not share:
            return diffusion, {}
        causal = causal_sum(model, batch)
        parts = {"diffusion_loss": mx.stop_gradient(diffusion), "causal_loss": mx.stop_gradient(causal)}
        return joint(diffusion, causal, 1 - share), parts

    def measure(self, model: Any, batch: Batch, seed: int) -> tuple[mx.array, Metrics]:
        """The bound by `draws` draws of exactly k masks a row, each row holding one sample."""
        counts, orders = _draws_by_sample(batch, seed, self.settings.draws)
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


@dataclass(frozen=True)
class MntpTask:
    """Masked tokens from the place before them."""

    settings: MntpSettings
    unit: str = "token"
    metrics: tuple[str, ...] = ()
    baseline: None = None
    is_static: bool = True
    survey: None = None

    def draw(self, batch: Batch, seed: int) -> Batch:
        """Tokens masked."""
        _, *keys = mx.random.split(mx.random.key(seed), batch.step_rows + 1)
        share = mx.full((len(batch.numbers),), self.settings.mask_share)
        return _with_masks(batch, _masked(batch, batch.is_label, self.settings.mask_id, share, keys), batch.segment_ids)

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Sum over labels, each masked one counting for those that are not."""
        noised = _masks(batch)
        return mntp_nll(bidirectional_logits(model, noised.ids, batch.drawn["seen"]), batch.ids, noised), {}

    def measure(self, model: Any, batch: Batch, seed: int) -> tuple[mx.array, Metrics]:
        """The loss by one draw."""
        _, orders = _draws_by_sample(batch, seed, 1)
        share = mx.full((len(batch.numbers),), self.settings.mask_share)
        noised = mask_tokens(batch.ids, batch.is_label, self.settings.mask_id, share, mx.array(orders[0]))
        return self.loss(model, _with_masks(batch, noised, batch.segment_ids))


@dataclass(frozen=True)
class PreferenceTask(Certain):
    """The better of two answers."""

    settings: PreferenceSettings
    reference: Reference | None
    dataset: Dataset
    unit: str = "pair"
    baseline: float = 0.5

    @property
    def metrics(self) -> tuple[str, ...]:
        """Rewards, margin and accuracy; with KTO its reference point."""
        rewards = ("reward_chosen", "reward_rejected", "reward_margin", "reward_accuracy")
        return (*rewards, "kl") if self.settings.loss == "kto" else rewards

    @property
    def survey(self) -> Survey | None:
        """What the loss takes over a whole step."""
        return survey_of(self.settings, self.dataset, self.reference)

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Sum over pairs, with rewards, margin and accuracy."""
        policy, with_prompts = part_log_probabilities(model, batch), None
        if self.settings.loss == "orpo" and self.settings.likelihood != "answer":
            policy, together = log_probabilities_with_prompts(model, batch)
            with_prompts = together[0::2]
        tokens = as_pairs(mx.array([float(part.labels) for part in batch.parts]))
        reference = None if self.reference is None else as_pairs(self.reference(model, batch))
        loss, metrics = preference_loss(as_pairs(policy), reference, tokens, self.settings, batch.drawn, with_prompts)
        return loss, metrics | ({"kl": batch.drawn[POINT] * tokens.chosen.size} if "kl" in self.metrics else {})


@dataclass(frozen=True)
class LabelledTask(Certain):
    """Single answers that are desirable or not (KTO)."""

    settings: PreferenceSettings
    reference: Reference
    dataset: Dataset
    unit: str = "answer"
    metrics: tuple[str, ...] = ("reward_desirable", "reward_undesirable", "kl")
    baseline: None = None

    @property
    def survey(self) -> Survey | None:
        """What the loss takes over a whole step."""
        return survey_of(self.settings, self.dataset, self.reference)

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Sum over answers, with the rewards of either label."""
        settings, labels = self.settings, self.dataset.labels
        ratios = part_log_probabilities(model, batch) - self.reference(model, batch)
        is_desirable = mx.array([labels[part.sample] for part in batch.parts])
        weights = settings.desirable_weight, settings.undesirable_weight
        losses = labelled_losses(ratios, is_desirable, batch.drawn[POINT], settings.beta, *weights)
        rewards = mx.stop_gradient(settings.beta * ratios)
        return losses.sum(), {
            "reward_desirable": mx.where(is_desirable, rewards, 0.0).sum() * batch.drawn[DESIRABLE_SCALE],
            "reward_undesirable": mx.where(is_desirable, 0.0, rewards).sum() * batch.drawn[UNDESIRABLE_SCALE],
            "kl": batch.drawn[POINT] * len(batch.parts),
        }


@dataclass(frozen=True)
class RewardTask(Certain):
    """A higher score for the better of two answers, read at their last tokens."""

    settings: RewardSettings
    unit: str = "pair"
    metrics: tuple[str, ...] = ("reward_margin", "reward_accuracy")
    baseline: float = 0.5

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Sum over pairs, with margin and accuracy."""
        scores = part_scores(model, batch, [part.end - 1 for part in batch.parts])[:, 0]
        return bradley_terry(*as_pairs(scores), center=self.settings.center)


@dataclass(frozen=True)
class ClassificationTask(Certain):
    """Which answer a question has, read where the answer would begin."""

    labels: NDArray[np.int32]
    """Number of each sample's class."""
    unit: str = "sample"
    metrics: tuple[str, ...] = ("accuracy",)

    @property
    def baseline(self) -> float:
        """Share of the commonest class."""
        return float(np.bincount(self.labels).max() / len(self.labels))

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Sum over samples, with accuracy."""
        scores = part_scores(model, batch, _before_answers(batch))
        return classification(scores, mx.array(self.labels[_samples(batch)]))


@dataclass(frozen=True)
class RegressionTask(Certain):
    """Which number a question has for an answer, read where the answer would begin."""

    targets: NDArray[np.float32]
    """Of each sample."""
    unit: str = "sample"
    metrics: tuple[str, ...] = ("absolute_error",)
    baseline: None = None

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Sum over samples, with absolute error."""
        scores = part_scores(model, batch, _before_answers(batch))
        return regression(scores, mx.array(self.targets[_samples(batch)]))


def head_of(objective: ObjectiveSettings, dataset: Dataset, tokenizer: Tokenizer) -> Head | None:
    """What the scores stand for, or None where the model keeps its own head.

    Args:
        objective: What is learnt.
        dataset: Gives the classes where the objective does not.
        tokenizer: Reads them.

    Raises:
        SetupError: The data knows one class only.
    """
    match objective:
        case RewardSettings():
            return Head(("reward",), "regression")
        case RegressionSettings():
            return Head(("value",), "regression")
        case ClassificationSettings():
            classes = objective.classes or tuple(sorted(set(answers(dataset, tokenizer))))
            if len(classes) < 2:
                raise SetupError(
                    f"every answer of the data is {''.join(classes)!r}, and one class is nothing to learn: give rows of "
                    "several, or name all of them as `classes`",
                    "LR-E138",
                )
            return Head(classes, "single_label_classification")
        case _:
            return None


def make_task(
    objective: ObjectiveSettings, dataset: Dataset, tokenizer: Tokenizer, head: Head | None, reference: Reference | None
) -> Task:
    """What is learnt from a data set.

    Args:
        objective: How.
        dataset: Gives the answers to classify or to regress on.
        tokenizer: Reads them.
        head: What scores stand for.
        reference: Of preference training, where it has one.

    Raises:
        SetupError: An answer is no class or no number.
    """
    match objective:
        case CausalSettings():
            return CausalTask()
        case DiffusionSettings():
            return DiffusionTask(objective)
        case MntpSettings():
            return MntpTask(objective)
        case PreferenceSettings():
            if dataset.labels:
                assert reference is not None, "kto compares with a reference"
                return LabelledTask(objective, reference, dataset)
            return PreferenceTask(objective, reference, dataset)
        case RewardSettings():
            return RewardTask(objective)
        case RegressionSettings():
            return RegressionTask(numbers(dataset, tokenizer))
        case ClassificationSettings():
            assert head is not None, "classes are scored"
            return ClassificationTask(classes_of(dataset, tokenizer, head.outputs))


def as_pairs(values: mx.array) -> Answers:
    """Numbers of parts, by turns chosen and rejected."""
    return Answers(values[0::2], values[1::2])


def _masked(batch: Batch, is_maskable: mx.array, mask_id: int, share: mx.array, keys: list[mx.array]) -> Noised:
    """Some of the batch's tokens masked, each row by its own key."""
    shape = (batch.ids.shape[1],)
    draws = mx.stack([mx.random.uniform(shape=shape, key=keys[number]) for number in batch.numbers])
    return mask_tokens(batch.ids, is_maskable, mask_id, share, draws)


def _draws_by_sample(batch: Batch, seed: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Uniform draws for held-out rows, decided by seed and sample alone, whatever is measured with it.

    Returns:
        One for each draw and row, by the row's first sample (count, R), and one for each token (count, R, T).
    """
    by_row = np.zeros((count, batch.ids.shape[0]), dtype=np.float32)
    by_token = np.zeros((count, *batch.ids.shape), dtype=np.float32)
    for part in batch.parts:
        draws = np.random.default_rng([seed, part.sample]).random((count, 1 + part.end - part.start), dtype=np.float32)
        by_token[:, part.row, part.start : part.end] = draws[:, 1:]
        if part.start == 0:
            by_row[:, part.row] = draws[:, 0]
    return by_row, by_token


def _with_masks(batch: Batch, noised: Noised, seen: mx.array) -> Batch:
    """Masks drawn for a batch, and the segment ids that the model sees."""
    return replace(batch, drawn={**batch.drawn, **noised._asdict(), "seen": seen})


def _masks(batch: Batch) -> Noised:
    return Noised(**{name: batch.drawn[name] for name in Noised._fields})


def _samples(batch: Batch) -> list[int]:
    return [part.sample for part in batch.parts]


def _before_answers(batch: Batch) -> list[int]:
    return [part.answer - 1 for part in batch.parts]
