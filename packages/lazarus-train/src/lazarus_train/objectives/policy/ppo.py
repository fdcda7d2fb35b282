"""Proximal policy optimisation (PPO) with a value head on the model in training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from lazarus_train.objectives.policy.base import (
    ADVANTAGE,
    OLD,
    OLD_VALUE,
    RETURN,
    SHARE,
    WEIGHT,
    PolicyObjective,
    PolicySettings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lazarus_models.backend import mx
    from lazarus_train.data.batches import Batch
    from lazarus_train.objective_registry import RunFields
    from lazarus_train.objectives.base import Metrics
    from lazarus_train.rollouts.advantages import Advantage, Scored

LARGEST_ERROR = 0.2
"""Largest relative error of the divergence that changes `beta` (arXiv 1909.08593)."""


class PpoSettings(PolicySettings, frozen=True):
    """Proximal policy optimisation: an answer's advantage is its reward relative to the value that the model predicts."""

    kind: Literal["ppo"] = "ppo"
    needs_value: ClassVar[bool] = True

    group_size: PositiveInt = 1
    """Answers to each prompt."""
    clip_low: PositiveFloat = Field(default=0.2, lt=1)
    """The ratio of probabilities is clipped below 1 minus this."""
    clip_high: PositiveFloat = 0.2
    """The ratio of probabilities is clipped above 1 plus this."""
    passes: PositiveInt = 4
    """Times that the answers of a step are trained on."""
    discount: float = Field(default=1.0, ge=0.0, le=1.0)
    """Discount of later rewards, gamma."""
    gae_decay: float = Field(default=0.95, ge=0.0, le=1.0)
    """Weight of later temporal differences in the advantage, lambda (GAE, arXiv 1506.02438)."""
    is_whitened: bool = True
    """Scale the advantages of a step to mean 0 and variance 1."""
    value_weight: NonNegativeFloat = 0.1
    """Weight of the value's loss."""
    value_clip: PositiveFloat = 0.2
    """Largest change of a value since the answers were drawn that lowers its loss."""
    kl_target: PositiveFloat | None = None
    """KL divergence from the reference, in nats an answer, that `beta` is adapted to (arXiv 1909.08593). Default: `beta` is
    constant."""
    kl_horizon: PositiveInt = 10_000
    """Answers over which `beta` adapts."""

    @model_validator(mode="after")
    def _target_has_a_reference(self) -> PpoSettings:
        if self.kl_target is not None and not self.beta:
            raise ValueError("`kl_target` needs `beta` above 0, the weight to start with")
        if self.kl_horizon != 10_000 and self.kl_target is None:
            raise ValueError("`kl_horizon` has no effect without `kl_target`")
        return self

    def check_run(self, run: RunFields) -> None:
        """Refuses a moving average of the weights, which would have no value head.

        Raises:
            ValueError: `ema` is set, or as for every objective of this kind.
        """
        super().check_run(run)
        if run.ema is not None:
            raise ValueError("`ema` has no effect with `objective` ppo")


class PpoObjective(PolicyObjective):
    """Proximal policy optimisation.

    Args:
        settings: The objective's settings.
    """

    settings_type = PpoSettings
    metrics = ("ratio_error", "clip_share", "kl", "value_loss")

    def token_weights(self, lengths: Sequence[int]) -> tuple[list[float], int]:
        """Every token has weight 1; the divisor is the number of tokens.

        Args:
            lengths: Drawn tokens of each answer of the update.
        """
        return [1.0] * len(lengths), sum(lengths)

    def advantages(self, answers: Sequence[Scored]) -> list[Advantage]:
        """Generalised advantages; with `is_whitened` they have mean 0 and variance 1 over all tokens.

        Args:
            answers: All answers that are trained on, on all processes.
        """
        import numpy as np

        from lazarus_train.rollouts.advantages import Advantage, generalized_advantages, whitened

        settings, found = self.settings, list[Advantage]()
        for each in answers:
            rewards = np.zeros(each.tokens) if each.penalties is None else np.array(each.penalties, dtype=np.float64)
            rewards[-1] += each.reward
            assert each.values is not None, "the model has a value head"
            pair = generalized_advantages(rewards, each.values, discount=settings.discount, decay=settings.gae_decay)
            found.append(Advantage(*pair))
        if not settings.is_whitened:
            return found
        scaled = whitened([each.tokens for each in found])
        return [each._replace(tokens=tokens) for each, tokens in zip(found, scaled, strict=True)]

    def adapted_beta(self, beta: float, reference_kl: float, answers: int) -> float | None:
        """The weight that brings the divergence nearer to `kl_target` (arXiv 1909.08593, section 2.2).

        Args:
            beta: Present weight.
            reference_kl: Divergence from the reference in this step, in nats an answer.
            answers: Number of answers.
        """
        settings = self.settings
        if settings.kl_target is None:
            return None
        error = max(-LARGEST_ERROR, min(LARGEST_ERROR, reference_kl / settings.kl_target - 1))
        return beta * (1 + error * answers / settings.kl_horizon)

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Loss of policy and value.

        Args:
            model: The model with its value head, in training mode.
            batch: Rows of prompts with answers, with advantages, returns, old values and old log-probabilities in
                `random_inputs`.
        """
        from lazarus_train.objectives.forward import log_probabilities_and_values

        now, value = log_probabilities_and_values(model, batch, self.settings.temperature)
        return self.loss_of(now, value, batch.random_inputs)

    def loss_of(self, now: mx.array, value: mx.array, inputs: Mapping[str, mx.array]) -> tuple[mx.array, Metrics]:
        """Loss and metrics from log-probabilities and values, summed with the weights of `token_weights`.

        Args:
            now: Log-probability of every drawn token, (L,).
            value: Value before every drawn token, (L,).
            inputs: Advantages, returns, old values, old log-probabilities and weights, each (L,).
        """
        from lazarus_models.backend import mx
        from lazarus_train.objectives.policy.losses import clipped_loss, value_loss

        settings = self.settings
        found = clipped_loss(now - inputs[OLD], inputs[ADVANTAGE], settings.clip_low, settings.clip_high)
        of_value = value_loss(value, inputs[OLD_VALUE], inputs[RETURN], settings.value_clip)
        weight, share = inputs[WEIGHT], inputs[SHARE]
        return (weight * (found.loss + settings.value_weight * of_value)).sum(), {
            "ratio_error": (share * mx.abs(found.ratio - 1)).sum(),
            "clip_share": (share * found.is_clipped).sum(),
            "kl": (share * (inputs[OLD] - now)).sum(),
            "value_loss": (share * of_value).sum(),
        }
