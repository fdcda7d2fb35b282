"""From logits to the next token.

V = vocabulary

The order is transformers': temperature, top-k, top-p, min-p. Nothing is drawn from the global generator: the key of a
draw is a function of (seed, position), so that a seed fixes a text whatever else the process does.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from typing import Annotated

from jaxtyping import Float, UInt32
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from lazarus_models.backend import mx


class GenerationConfig(BaseModel):
    """How a text is continued."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_new_tokens: PositiveInt = 256
    """Where to stop when no stop id comes."""
    temperature: NonNegativeFloat = 0.0
    """Divides the logits; 0 takes the most likely token always (greedy)."""
    top_k: NonNegativeInt = 0
    """Draws from the k most likely tokens; 0 for all."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Draws from the fewest tokens whose probabilities reach p, the one that crosses p among them."""
    min_p: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Draws from tokens at least this fraction as likely as the likeliest."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Fixes every draw."""
    stop_ids: tuple[NonNegativeInt, ...] | None = None
    """Tokens that end the text, 0 among the legal ones; None for the model's own, () for none."""

    @model_validator(mode="after")
    def _greedy_ignores_nothing(self) -> "GenerationConfig":
        idle = [name for name in ("top_k", "top_p", "min_p") if name in self.model_fields_set]
        idle = [name for name in idle if getattr(self, name) != type(self).model_fields[name].default]
        if self.temperature == 0 and idle:
            raise ValueError(f"`{idle[0]}` has no effect while `temperature` is 0 (greedy); set a `temperature`")
        return self


def position_key(seed: int, position: int) -> UInt32[mx.array, "2"]:
    """The key of the draw at a position; seeds and positions are below 2**32.

    >>> position_key(7, 3)
    array([7, 3], dtype=uint32)
    """
    return mx.random.key(seed << 32 | position)


def next_token(logits: Float[mx.array, " V"], config: GenerationConfig, position: int) -> int:
    """The token after these logits.

    >>> next_token(mx.array([0.1, 2.0, 0.3]), GenerationConfig(), position=0)
    1
    """
    if config.temperature == 0:
        return int(mx.argmax(logits))
    kept = kept_logits(logits, config)
    return int(mx.random.categorical(kept, key=position_key(config.seed, position)))


def kept_logits(logits: Float[mx.array, " V"], config: GenerationConfig) -> Float[mx.array, " V"]:
    """The logits over the temperature, minus infinity where a filter leaves a token out.

    >>> kept_logits(mx.array([0.0, 2.0, 1.0]), GenerationConfig(temperature=0.5, top_k=2))
    array([-inf, 4, 2], dtype=float32)
    """
    scaled = logits.astype(mx.float32) / config.temperature
    order = mx.argsort(-scaled)
    probabilities = mx.softmax(scaled[order])
    kept = mx.ones(order.shape, dtype=mx.bool_)
    if config.top_k:
        kept = kept & (mx.arange(order.size) < config.top_k)
        probabilities = mx.where(kept, probabilities, 0)
        probabilities = probabilities / probabilities.sum()
    if config.top_p < 1:
        kept = kept & (mx.cumsum(probabilities) - probabilities < config.top_p)
    kept = kept & (probabilities >= config.min_p * probabilities[0])
    rank = mx.argsort(order)
    return mx.where(kept[rank], scaled, -mx.inf)
