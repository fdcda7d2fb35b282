"""Preference optimisation: pairs of answers (DPO and its variants), or labelled single answers (KTO).

P = pairs or answers

| loss | statistics of the whole step | from |
|---|---|---|
| `kto` | z = max(0, mean of log pi - log pi_ref) | each prompt with another sample's answer (`mismatched`) |
| `kto_pair` | the same of all chosen and of all rejected answers | the step's own answers |
| `orpo` with `likelihood` prompt-and-answer | tokens of prompts and chosen answers | lengths alone |
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from lazarus_train.errors import SetupError
from lazarus_train.objective_registry import ObjectiveSettings, RunFields
from lazarus_train.objectives.base import Bindings, Metrics, Objective, Reference, ReferenceNeed, Survey

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from lazarus_models.backend import mx
    from lazarus_plan import BatchPlan
    from lazarus_train.data.batches import Batch
    from lazarus_train.data.dataset import Dataset
    from lazarus_train.objectives.losses.preference_losses import (
        Answers,
    )


_REWARDS = ("reward_chosen", "reward_rejected", "reward_margin", "reward_accuracy")


class PreferenceSettings(ObjectiveSettings, frozen=True):
    """Preference optimisation on pairs of answers, or KTO on labelled answers."""

    kind: Literal["preference"] = "preference"

    allows_generation: ClassVar[bool] = True

    loss: Literal["dpo", "ipo", "hinge", "kto", "kto_pair", "orpo", "simpo"] = "dpo"
    """dpo (arXiv 2305.18290), ipo (2310.12036), hinge (2305.10425), kto (2402.01306), kto_pair (TRL's former variant of kto,
    on the means of pairs); without a reference: orpo (2403.07691), simpo (2405.14734)."""
    beta: PositiveFloat = 0.1
    """Strength of the penalty for deviating from the reference. For orpo the weight of the odds ratio; simpo's
    paper uses 2.
    """
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=0.5)
    """Assumed share of pairs with swapped labels (dpo, simpo)."""
    is_length_normalized: bool = Field(default_factory=lambda settings: settings.get("loss") == "ipo")
    """Mean instead of sum over an answer's tokens (dpo, ipo, hinge); ipo takes the mean unless this is False. orpo and simpo
    always take the mean."""
    likelihood: Literal["answer", "prompt-and-answer"] = "answer"
    """orpo's likelihood of the chosen answer: the mean over pairs of each answer's mean over its tokens, or the mean over all
    tokens of prompts and answers in a step, as TRL's trainer takes it."""
    desirable_weight: PositiveFloat = 1.0
    """Weight of desirable answers (kto)."""
    undesirable_weight: PositiveFloat = 1.0
    """Weight of undesirable answers (kto)."""
    margin: NonNegativeFloat = 0.0
    """Target margin of the chosen answer (simpo's gamma)."""
    reference: Literal["cached", "copy", "adapters-off"] = "cached"
    """Source of the reference's log-probabilities: computed once for every pair of its steps and cached in the run's
        folder; a second, frozen model; or the model without its adapters.
    """

    @model_validator(mode="after")
    def _every_setting_has_an_effect(self) -> PreferenceSettings:
        if self.label_smoothing and self.loss not in ("dpo", "simpo"):
            raise ValueError(f"`label_smoothing` has no effect with `loss` {self.loss}: omit it")
        if self.is_length_normalized and self.loss not in ("dpo", "ipo", "hinge"):
            raise ValueError(f"`is_length_normalized` has no effect with `loss` {self.loss}: omit it")
        if self.margin and self.loss != "simpo":
            raise ValueError(f"`margin` has no effect with `loss` {self.loss}: omit it")
        if self.likelihood != "answer" and self.loss != "orpo":
            raise ValueError(f"`likelihood` has no effect with `loss` {self.loss}: omit it")
        for name in ("desirable_weight", "undesirable_weight"):
            if getattr(self, name) != 1 and self.loss != "kto":
                raise ValueError(f"`{name}` has no effect with `loss` {self.loss}: omit it")
        if self.reference != "cached" and not self.needs_reference:
            raise ValueError(f"`reference` has no effect with `loss` {self.loss}: omit it")
        return self

    @property
    def needs_reference(self) -> bool:
        """Whether the loss uses a reference model."""
        return self.loss not in ("orpo", "simpo")

    def check_run(self, run: RunFields) -> None:
        """Refuses labels without KTO, and `adapters-off` references without adapters.

        Raises:
            ValueError: The settings contradict each other.
        """
        if self.loss != "kto":
            super().check_run(run)
        if self.reference == "adapters-off" and run.lora is None:
            raise ValueError("`reference` adapters-off needs `lora`")


class PreferenceObjective(Objective[PreferenceSettings]):
    """Preference optimisation on pairs of answers.

    Args:
        settings: The objective's settings.
        dataset: The pairs; from `bind`.
        reference: Log-probabilities of the reference, if the loss has one; from `bind`.
    """

    settings_type = PreferenceSettings
    unit = "pair"
    baseline = 0.5

    def __init__(
        self,
        settings: PreferenceSettings | None = None,
        dataset: Dataset | None = None,
        reference: Reference | None = None,
    ) -> None:
        super().__init__(settings)
        self._dataset = dataset
        self._reference = reference
        self.metrics = (*_REWARDS, "kl") if self.settings.loss == "kto" else _REWARDS

    @property
    def reference_need(self) -> ReferenceNeed | None:
        """None for `orpo` and `simpo`."""
        if not self.settings.needs_reference:
            return None
        return ReferenceNeed(self.settings.reference, mismatched=self.settings.loss == "kto")

    def loss_normalizer(self, plan: BatchPlan, dataset: Dataset, *, may_be_empty: bool = False) -> NDArray[np.int64]:
        """Pairs of each step, or labelled answers for KTO on single answers.

        Args:
            plan: The steps.
            dataset: Pairs of answers, or single answers with labels.
            may_be_empty: Not used: every step of a plan has a sample.

        Returns:
            Number of pairs or answers of each step, int64 (S,).

        Raises:
            SetupError: A sample is truncated or split, is of another kind, or is the only one for KTO.
        """
        import numpy as np

        from lazarus_train.objectives.loss_normalizer import check_labelled, check_whole, samples_by_step

        check_whole(plan, dataset)
        if self.settings.loss == "kto" and len(np.unique(plan.sample)) < 2:
            raise SetupError(
                f"{dataset.place(int(plan.sample[0]))} is the only sample, and `loss` kto needs another one's answer for its "
                "reference point: give two or more",
                "LR-E139",
            )
        if dataset.labels:
            check_labelled(dataset)
            return np.diff(plan.step_splits).astype(np.int64)
        return samples_by_step(plan, dataset, pairs=True)

    def bind(self, bindings: Bindings) -> PreferenceObjective:
        """The objective with the data and the reference."""
        kind = LabelledObjective if bindings.dataset.labels else PreferenceObjective
        return kind(self.settings, bindings.dataset, bindings.reference)

    @property
    def survey(self) -> Survey | None:
        """Statistics of a whole step (see the table above); None if the loss of each pair is independent."""
        from lazarus_train.objectives.surveys import KtoPoint, PairMeans, PromptTokens

        match self.settings.loss:
            case "kto":
                return KtoPoint(self._bound_dataset, self._bound_reference)
            case "kto_pair":
                return PairMeans(self._bound_reference)
            case "orpo" if self.settings.likelihood != "answer":
                return PromptTokens(self._bound_dataset)
            case _:
                return None

    @property
    def _bound_dataset(self) -> Dataset:
        assert self._dataset is not None, "`bind` comes first"
        return self._dataset

    @property
    def _bound_reference(self) -> Reference:
        assert self._reference is not None, "the loss compares with a reference"
        return self._reference

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Sum over pairs.

        Args:
            model: The model in training.
            batch: Whole pairs. Statistics of the step, if the loss needs them, are in `random_inputs`.

        Returns:
            The sum, float32 (), and sums of the rewards, their margin and the accuracy; for `kto` also the KL.
        """
        from lazarus_models.backend import mx
        from lazarus_train.objectives.forward import log_probabilities_with_prompts, part_log_probabilities
        from lazarus_train.objectives.losses.preference_losses import POINT, as_pairs

        # One sum of log-probabilities per part; parts alternate between chosen and rejected.
        policy, with_prompts = part_log_probabilities(model, batch), None
        if self.settings.loss == "orpo" and self.settings.likelihood != "answer":
            policy, together = log_probabilities_with_prompts(model, batch)
            # Even parts are the chosen answers.
            with_prompts = together[0::2]
        # Number of labels of each answer, to turn sums into means.
        tokens = as_pairs(mx.array([float(part.labels) for part in batch.parts]))
        reference = None if self._reference is None else as_pairs(self._reference(model, batch))
        loss, metrics = preference_loss(
            as_pairs(policy), reference, tokens, self.settings, batch.random_inputs, with_prompts
        )
        return loss, metrics | ({"kl": batch.random_inputs[POINT] * tokens.chosen.size} if "kl" in self.metrics else {})


class LabelledObjective(PreferenceObjective):
    """Single answers that are labelled desirable or undesirable (KTO)."""

    unit = "answer"
    baseline = None

    def __init__(
        self,
        settings: PreferenceSettings | None = None,
        dataset: Dataset | None = None,
        reference: Reference | None = None,
    ) -> None:
        super().__init__(settings, dataset, reference)
        self.metrics = ("reward_desirable", "reward_undesirable", "kl")

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Sum over answers.

        Args:
            model: The model in training.
            batch: Labelled answers, with the statistics of the step in `random_inputs`.

        Returns:
            The sum, float32 (), the rewards of desirable and undesirable answers, and the KL.
        """
        from lazarus_models.backend import mx
        from lazarus_train.objectives.forward import part_log_probabilities
        from lazarus_train.objectives.losses import preference_losses as losses_of
        from lazarus_train.objectives.losses.preference_losses import DESIRABLE_SCALE, POINT, UNDESIRABLE_SCALE

        settings, labels = self.settings, self._bound_dataset.labels
        # log pi - log pi_ref of each answer.
        ratios = part_log_probabilities(model, batch) - self._bound_reference(model, batch)
        # One answer per part: the label of its sample.
        is_desirable = mx.array([labels[part.sample] for part in batch.parts])
        weights = settings.desirable_weight, settings.undesirable_weight
        losses = losses_of.labelled_losses(ratios, is_desirable, batch.random_inputs[POINT], settings.beta, *weights)
        # Metrics only: no gradient flows through them.
        rewards = mx.stop_gradient(settings.beta * ratios)
        return losses.sum(), {
            # The step divides sums by all answers; the scale turns that into a mean over answers of this label.
            "reward_desirable": mx.where(is_desirable, rewards, 0.0).sum() * batch.random_inputs[DESIRABLE_SCALE],
            "reward_undesirable": mx.where(is_desirable, 0.0, rewards).sum() * batch.random_inputs[UNDESIRABLE_SCALE],
            # Times the number of answers, since the step divides by it.
            "kl": batch.random_inputs[POINT] * len(batch.parts),
        }


def preference_loss(
    policy: Answers,
    reference: Answers | None,
    tokens: Answers,
    settings: PreferenceSettings,
    shared: Mapping[str, mx.array] = MappingProxyType({}),
    with_prompts: mx.array | None = None,
) -> tuple[mx.array, Metrics]:
    """Loss and metrics, summed over pairs.

    Args:
        policy: Summed log-probabilities under the model in training.
        reference: Summed log-probabilities under the reference; None if the loss has none.
        tokens: Number of summed tokens of each answer.
        settings: Loss and its parameters.
        shared: Statistics of the whole step over all ranks: the reference points of `kto` and `kto_pair`, and
            `likelihood_scale` of `orpo` if its likelihood includes prompts.
        with_prompts: Log-probabilities of each prompt with its chosen answer, if `orpo` reads them.

    Returns:
        The loss, and `reward_chosen`, `reward_rejected`, `reward_margin` and `reward_accuracy` (a tie counts one
        half).
        The reward is beta * (log pi - log pi_ref); without a reference beta * mean log pi.
    """
    from lazarus_train.objectives.losses import preference_losses as losses_of

    # Without a reference, the mean log-probability takes the place of the ratio.
    ratios = policy / tokens if reference is None else policy - reference
    # Sums over tokens grow with the length of an answer; means do not.
    scores = ratios / tokens if settings.is_length_normalized else ratios
    beta, smoothing = settings.beta, settings.label_smoothing
    match settings.loss:
        case "dpo":
            losses = losses_of.dpo_losses(scores.gap, beta, smoothing)
        case "ipo":
            losses = losses_of.ipo_losses(scores.gap, beta)
        case "hinge":
            losses = losses_of.hinge_losses(scores.gap, beta)
        case "kto":
            desirable, undesirable = settings.desirable_weight, settings.undesirable_weight
            losses = losses_of.kto_losses(ratios, shared[losses_of.POINT], beta, desirable, undesirable)
        case "kto_pair":
            # Mean ratios of all chosen and of all rejected answers in the step.
            points = losses_of.Answers(shared[losses_of.POINT_CHOSEN], shared[losses_of.POINT_REJECTED])
            losses = losses_of.kto_pair_losses(ratios, points, beta)
        case "orpo" if with_prompts is not None:
            # The scale converts the later division by pairs into a division by tokens.
            losses = losses_of.odds_ratio_losses(scores, beta) - with_prompts * shared[losses_of.LIKELIHOOD_SCALE]
        case "orpo":
            # Odds-ratio term plus negative log-likelihood of the chosen answer.
            losses = losses_of.odds_ratio_losses(scores, beta) - scores.chosen
        case "simpo":
            losses = losses_of.simpo_losses(scores.gap, beta, settings.margin, smoothing)
    return losses.sum(), losses_of.reward_metrics(ratios, beta)
