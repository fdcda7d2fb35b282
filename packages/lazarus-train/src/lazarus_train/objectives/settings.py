"""What a run minimises, and how strongly. `kind` tells the settings of one objective from those of another."""

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

_STRICT = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class CausalSettings(BaseModel):
    """The next token: pre-training on texts, fine-tuning on answers."""

    model_config = _STRICT

    kind: Literal["causal"] = "causal"


class DiffusionSettings(BaseModel):
    """Masked tokens from all the others (arXiv 2502.09992); the first token of a sample is never masked."""

    model_config = _STRICT

    kind: Literal["diffusion"] = "diffusion"
    mask_id: NonNegativeInt
    """The token that stands for a masked one; the data must not hold it."""
    causal_share: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Weight of next-token prediction beside it: the joint loss."""
    truncated_share: float = Field(default=0.01, ge=0.0, le=1.0)
    """Share of samples that diffusion sees cut to a random length, anew in every step; LLaDA's in pre-training, 0 when it
    learns answers."""
    draws: PositiveInt = 128
    """Draws of masks that a held-out loss is the mean of, LLaDA's number."""


class MntpSettings(BaseModel):
    """Masked tokens from the place before them (LLM2Vec, arXiv 2404.05961): makes a causal model see both ways."""

    model_config = _STRICT

    kind: Literal["mntp"] = "mntp"
    mask_id: NonNegativeInt
    """The token that stands for a masked one; the data must not hold it."""
    mask_share: float = Field(default=0.2, gt=0.0, lt=1.0)
    """Share of tokens that is masked, LLM2Vec's."""


class PreferenceSettings(BaseModel):
    """The better of two answers."""

    model_config = _STRICT

    kind: Literal["preference"] = "preference"
    loss: Literal["dpo", "ipo", "hinge", "kto", "kto_pair", "orpo", "simpo"] = "dpo"
    """dpo (arXiv 2305.18290), ipo (2310.12036), hinge (2305.10425), kto (2402.01306), kto_pair (TRL's former variant of kto,
    on the means of pairs); without a reference: orpo (2403.07691), simpo (2405.14734)."""
    beta: PositiveFloat = 0.1
    """How strongly the policy is held to the reference. Of orpo the weight of the odds ratio; simpo's paper takes 2."""
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=0.5)
    """Share of pairs that are taken to be labelled the wrong way round (dpo, simpo)."""
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
    """By how much the chosen answer is to lead (simpo's gamma)."""
    reference: Literal["cached", "copy", "adapters-off"] = "cached"
    """Where the reference's log-probabilities come from: computed once for every pair of the plan and kept in the run's
    folder; a second model, frozen; or the model without its adapters."""

    @model_validator(mode="after")
    def _every_setting_has_an_effect(self) -> "PreferenceSettings":
        if self.label_smoothing and self.loss not in ("dpo", "simpo"):
            raise ValueError(f"`label_smoothing` has no effect with `loss` {self.loss}")
        if self.is_length_normalized and self.loss not in ("dpo", "ipo", "hinge"):
            raise ValueError(f"`is_length_normalized` has no effect with `loss` {self.loss}")
        if self.margin and self.loss != "simpo":
            raise ValueError(f"`margin` has no effect with `loss` {self.loss}")
        if self.likelihood != "answer" and self.loss != "orpo":
            raise ValueError(f"`likelihood` has no effect with `loss` {self.loss}")
        for name in ("desirable_weight", "undesirable_weight"):
            if getattr(self, name) != 1 and self.loss != "kto":
                raise ValueError(f"`{name}` has no effect with `loss` {self.loss}")
        if self.reference != "cached" and not self.needs_reference:
            raise ValueError(f"`reference` has no effect with `loss` {self.loss}")
        return self

    @property
    def needs_reference(self) -> bool:
        """Whether the loss compares with a reference model."""
        return self.loss not in ("orpo", "simpo")


class RewardSettings(BaseModel):
    """A score that is higher for the better of two answers (Bradley-Terry)."""

    model_config = _STRICT

    kind: Literal["reward"] = "reward"
    center: NonNegativeFloat = 0.0
    """Weight of (chosen + rejected)^2, which keeps rewards near zero; 0.01 is usual (arXiv 2312.09244)."""


class ClassificationSettings(BaseModel):
    """Which of some answers a question has: a score for each, read where the answer would begin."""

    model_config = _STRICT

    kind: Literal["classification"] = "classification"
    classes: tuple[str, ...] = ()
    """The answers there are; empty takes those of the data, in alphabetical order."""

    @model_validator(mode="after")
    def _classes_differ(self) -> "ClassificationSettings":
        if any(name != name.strip() or not name for name in self.classes):
            raise ValueError(
                f"`classes` {list(self.classes)}: one is empty or has spaces around it, which no answer has"
            )
        if len(set(self.classes)) < len(self.classes) or len(self.classes) == 1:
            raise ValueError(f"`classes` {list(self.classes)}: give two or more, each once")
        return self


class RegressionSettings(BaseModel):
    """The number that a question has for an answer."""

    model_config = _STRICT

    kind: Literal["regression"] = "regression"


ObjectiveSettings = Annotated[
    CausalSettings
    | DiffusionSettings
    | MntpSettings
    | PreferenceSettings
    | RewardSettings
    | ClassificationSettings
    | RegressionSettings,
    Field(discriminator="kind"),
]
