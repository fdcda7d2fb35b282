"""Group-relative policy optimisation (GRPO) and its variants Dr. GRPO, DAPO and GSPO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from lazarus_train.objectives.policy.base import (
    ADVANTAGE,
    OLD,
    REFERENCE,
    SHARE,
    WEIGHT,
    PolicyObjective,
    PolicySettings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lazarus_models.backend import mx
    from lazarus_train.data.batches import Batch
    from lazarus_train.objectives.base import Metrics
    from lazarus_train.rollouts.advantages import Advantage, Scored

_CLIP_LOW = {"gspo": 3e-4}
_CLIP_HIGH = {"dapo": 0.28, "gspo": 4e-4}


class GrpoSettings(PolicySettings, frozen=True):
    """Group-relative policy optimisation: an answer's advantage is its reward relative to other answers to the same prompt."""

    kind: Literal["grpo"] = "grpo"

    loss: Literal["grpo", "dr_grpo", "dapo", "gspo"] = "grpo"
    """grpo (arXiv 2402.03300): mean over answers of the mean over tokens. dr_grpo (2503.20783): divided by `max_new_tokens`. dapo
    (2503.14476): mean over all tokens. gspo (2507.18071): one ratio for each answer."""
    group_size: PositiveInt = Field(default=8, ge=2)
    """Answers to each prompt, at least 2."""
    scale: Literal["group", "batch", "none"] = Field(
        default_factory=lambda settings: "none" if settings.get("loss") == "dr_grpo" else "group"
    )
    """Divisor of the advantages: the standard deviation of the group's rewards, of all rewards of the step, or none. Default: group;
    for dr_grpo none."""
    clip_low: PositiveFloat = Field(default_factory=lambda settings: _CLIP_LOW.get(settings.get("loss", ""), 0.2))
    """The ratio of probabilities is clipped below 1 minus this. Default: 0.2; for gspo 0.0003."""
    clip_high: PositiveFloat = Field(default_factory=lambda settings: _CLIP_HIGH.get(settings.get("loss", ""), 0.2))
    """The ratio of probabilities is clipped above 1 plus this. Default: 0.2; for dapo 0.28; for gspo 0.0004."""

    @model_validator(mode="after")
    def _clips_below_one(self) -> GrpoSettings:
        if self.clip_low >= 1:
            raise ValueError("`clip_low` must be below 1")
        return self


class GrpoObjective(PolicyObjective):
    """Group-relative policy optimisation.

    Args:
        settings: The objective's settings.
    """

    settings_type = GrpoSettings
    metrics = ("ratio_error", "clip_share", "kl")

    def token_weights(self, lengths: Sequence[int]) -> tuple[list[float], int]:
        """1/length over answers, 1 over tokens, or 1/`max_new_tokens` over answers; see `GrpoSettings.loss`.

        Args:
            lengths: Drawn tokens of each answer of the update.
        """
        match self.settings.loss:
            case "dapo":
                return [1.0] * len(lengths), sum(lengths)
            case "dr_grpo":
                return [1.0 / self.settings.max_new_tokens] * len(lengths), len(lengths)
            case _:
                return [1.0 / length for length in lengths], len(lengths)

    def advantages(self, answers: Sequence[Scored]) -> list[Advantage]:
        """Rewards relative to the answers to the same prompt, equal for all tokens of an answer.

        Args:
            answers: All answers that are trained on, on all processes.
        """
        from itertools import groupby

        import numpy as np

        from lazarus_train.rollouts.advantages import Advantage, group_advantages

        groups = [[each.reward for each in group] for _, group in groupby(answers, key=lambda each: each.prompt)]
        values = [value for group in group_advantages(groups, self.settings.scale) for value in group]
        return [Advantage(np.full(each.tokens, value)) for each, value in zip(answers, values, strict=True)]

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Loss and metrics of generated answers.

        Args:
            model: The model, in training mode.
            batch: Rows of prompts with answers, with advantages and old log-probabilities in `random_inputs`.
        """
        from lazarus_train.objectives.forward import label_log_probabilities

        now = label_log_probabilities(model, batch, self.settings.temperature)
        return self.loss_of(now, batch.random_inputs, [part.labels for part in batch.parts])

    def loss_of(
        self, now: mx.array, inputs: Mapping[str, mx.array], lengths: Sequence[int]
    ) -> tuple[mx.array, Metrics]:
        """Loss and metrics from log-probabilities, summed with the weights of `token_weights`.

        Args:
            now: Log-probability of every drawn token, (L,).
            inputs: Advantages, old and reference log-probabilities, and weights, each (L,).
            lengths: Drawn tokens of each answer; answers are contiguous.
        """
        from lazarus_models.backend import mx
        from lazarus_train.objectives.policy.losses import answer_means, clipped_loss, kl_estimate

        settings = self.settings
        log_ratio = now - inputs[OLD]
        if settings.loss == "gspo":
            log_ratio = answer_means(log_ratio, lengths)
        found = clipped_loss(log_ratio, inputs[ADVANTAGE], settings.clip_low, settings.clip_high)
        kl = kl_estimate(now, inputs[REFERENCE]) if settings.beta else mx.zeros_like(now)
        loss = found.loss + settings.beta * kl if settings.beta else found.loss
        share = inputs[SHARE]
        return (inputs[WEIGHT] * loss).sum(), {
            "ratio_error": (share * mx.abs(found.ratio - 1)).sum(),
            "clip_share": (share * found.is_clipped).sum(),
            "kl": (share * kl).sum(),
        }
