"""Settings of analyses, and layers by strategy."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from lazarus_introspect.errors import RequestError


class LayerStrategy(StrEnum):
    """Which layers a result lists."""

    ALL = "all"
    EVENLY_SPACED = "evenly_spaced"
    FIRST_LAST = "first_last"
    CUSTOM = "custom"


class Frozen(BaseModel):
    """Base of settings and results: immutable, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class AnalysisConfig(Frozen):
    """Settings of a logit lens. Layer 0 is the embedding, layer L the model's output."""

    layer_strategy: LayerStrategy = LayerStrategy.ALL
    """Layers that the result lists. Emergence always uses all."""
    layer_step: PositiveInt = 4
    """evenly_spaced: distance of the listed layers."""
    custom_layers: tuple[NonNegativeInt, ...] = ()
    """custom: the layers, from 0 to L."""
    top_k: Annotated[int, Field(ge=1, le=1000)] = 5
    """Tokens listed for each layer."""
    track_tokens: tuple[str, ...] = ()
    """Texts of tokens to follow, as they would continue the prompt: `" Paris"` and `"Paris"` differ."""
    multi_token: Literal["error", "first"] = "error"
    """What a tracked text of several tokens is: an error, or its first token."""
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Probability from which a token counts as probable."""
    position: int = -1
    """Position that is read; negative from the end."""
    every_position: bool = False
    """Whether the listed layers are also read at every position."""
    raw: bool = True
    """Whether the prompt is a text to continue; otherwise a user's message in the chat template."""

    @model_validator(mode="after")
    def _layers_fit(self) -> Self:
        if (self.layer_strategy == LayerStrategy.CUSTOM) != bool(self.custom_layers):
            raise ValueError("`custom_layers` and the `layer_strategy` custom require each other")
        return self

    def layers(self, count: int) -> list[int]:
        """The listed layers of a model.

        Args:
            count: Blocks L of the model.

        Raises:
            RequestError: A custom layer is above L.

        >>> AnalysisConfig(layer_strategy="evenly_spaced").layers(10)
        [0, 4, 8, 10]
        """
        match self.layer_strategy:
            case LayerStrategy.ALL:
                return list(range(count + 1))
            case LayerStrategy.EVENLY_SPACED:
                return sorted({*range(0, count + 1, self.layer_step), count})
            case LayerStrategy.FIRST_LAST:
                return [0, count]
            case LayerStrategy.CUSTOM:
                return check_layers(sorted(set(self.custom_layers)), count + 1)


def check_layers(layers: Sequence[int], count: int, what: str = "layer") -> list[int]:
    """The layers, if the model has them.

    Args:
        layers: Numbers of layers, or of heads.
        count: Layers of the model; numbers must be below it.
        what: What they are, for messages.

    Raises:
        RequestError: A number is not one of the model.
    """
    wrong = [layer for layer in layers if not 0 <= layer < count]
    if wrong:
        raise RequestError(f"{what} {wrong[0]} does not exist; {what}s are 0 to {count - 1}", "LI-E140")
    return list(layers)


class AblationConfig(Frozen):
    """Settings of an ablation study."""

    component: Literal["layer", "attention", "mlp", "expert"] = "layer"
    """Part of each block that is ablated."""
    experts: tuple[NonNegativeInt, ...] = ()
    """expert: the experts of each block, ablated jointly."""
    expert_mode: Literal["drop", "renormalise", "reroute"] = "drop"
    """expert: what happens to the tokens that chose them; see `lazarus_introspect.causal.expert_ablation`."""
    method: Literal["zero", "mean", "resample", "noise"] = "zero"
    """What its output becomes; `mean` is pooled over all positions of the reference prompts, `resample` takes the output at
    a random position of a random one."""
    reference_prompts: tuple[str, ...] = ()
    """mean, resample: prompts from which outputs are taken; all are cut to the last tokens of the shortest."""
    noise_scale: PositiveFloat = 1.0
    """noise: factor of the standard deviation of the output."""
    max_new_tokens: PositiveInt = 32
    """Tokens that are generated."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """Temperature of sampling; 0 takes the most probable token."""
    seed: NonNegativeInt = 0
    """Random seed of noise, resampling and sampling."""
    raw: bool = True
    """Whether the prompt is a text to continue; otherwise a user's message in the chat template."""
