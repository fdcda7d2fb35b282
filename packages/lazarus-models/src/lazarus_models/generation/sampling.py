"""From logits to the next token.

V = vocabulary

The order is transformers': bias and penalties, temperature, top-k, top-p, min-p. Nothing is drawn from the global
generator: the key of a draw is a function of (seed, position), so that a seed fixes a text whatever else the process
does, alone or in a batch, with a draft model or without.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
# MLX leaves what `at[...].add` takes untyped:
# pyright: reportUnknownMemberType=false
import math
from typing import Annotated, NamedTuple

from jaxtyping import Float, Int, UInt32
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    model_validator,
)

from lazarus_models.backend import mx
from lazarus_models.trees import integers
from lazarus_models.vocabulary import check_bias, check_ids

_Id = Annotated[int, Field(ge=0, lt=2**31)]
"""A token id that fits into MLX's int32."""
_Finite = Annotated[float, Field(allow_inf_nan=False)]


def _is_bias(value: float) -> float:
    if not (value == -math.inf or abs(value) <= _LARGEST_BIAS):
        raise ValueError(f"a bias lies within plus and minus {_LARGEST_BIAS:g}, or is minus infinity")
    return value


_LARGEST_BIAS = 1e30
"""Far from float32's end at 3e38: logits with biases and penalties stay finite."""
_Bias = Annotated[float, AfterValidator(_is_bias)]


class GenerationConfig(BaseModel):
    """How a text is continued."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_new_tokens: PositiveInt = 256
    """Where to stop when nothing else does."""
    temperature: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0
    """Divides the logits; 0 takes the most likely token always (greedy)."""
    top_k: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Draws from the k most likely tokens; 0 for all."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Draws from the fewest tokens whose probabilities reach p, the one that crosses p among them."""
    min_p: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Draws from tokens at least this fraction as likely as the likeliest."""
    repetition_penalty: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1.0
    """Divides positive and multiplies negative logits of tokens in prompt or text (CTRL, arXiv 1909.05858)."""
    frequency_penalty: _Finite = 0.0
    """Is subtracted from a token's logit for each time it stands in the text (OpenAI's)."""
    presence_penalty: _Finite = 0.0
    """Is subtracted once from the logit of every token in the text (OpenAI's)."""
    logit_bias: dict[_Id, _Bias] = Field(default_factory=dict[int, float])
    """Is added to the logits of these tokens; minus infinity bans one."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Fixes every draw."""
    stop_ids: tuple[_Id, ...] | None = None
    """Tokens that end the text, 0 among the legal ones; None for the model's own, () for none."""
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Texts that end the text, and are no part of it."""
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    """Records each token's log-probability and this many of the likeliest ones'; None for neither."""

    @model_validator(mode="after")
    def _greedy_ignores_nothing(self) -> "GenerationConfig":
        idle = [name for name in ("top_k", "top_p", "min_p") if name in self.model_fields_set]
        idle = [name for name in idle if getattr(self, name) != type(self).model_fields[name].default]
        if self.temperature == 0 and idle:
            raise ValueError(f"`{idle[0]}` has no effect while `temperature` is 0 (greedy); set a `temperature`")
        return self

    @property
    def is_plain(self) -> bool:
        """Whether logits are taken as the model gives them."""
        penalties = (self.repetition_penalty, self.frequency_penalty, self.presence_penalty)
        return penalties == (1.0, 0.0, 0.0) and not self.logit_bias


class Counts(NamedTuple):
    """How often each token has come."""

    prompt: Int[mx.array, " V"]
    text: Int[mx.array, " V"]

    def add(self, token: mx.array) -> "Counts":
        """The same after one more token of the text."""
        return self._replace(text=self.text.at[token].add(1))


def count(prompt: list[int], vocabulary: int) -> Counts:
    """The counts of a prompt.

    >>> count([1, 1, 2], 4).prompt.tolist()
    [0, 2, 1, 0]
    """
    check_ids(prompt, vocabulary, "the prompt")
    none = mx.zeros((vocabulary,), dtype=mx.int32)
    return Counts(none.at[mx.array(prompt, dtype=mx.int32)].add(1) if prompt else none, none)


def position_key(seed: int, position: int) -> UInt32[mx.array, "2"]:
    """The key of the draw at a position; seeds and positions are below 2**32.

    >>> position_key(7, 3)
    array([7, 3], dtype=uint32)
    """
    return mx.random.key(seed << 32 | position)


def draw(
    logits: Float[mx.array, " V"], config: GenerationConfig, position: int, counts: Counts | None = None
) -> mx.array:
    """The token after these logits, yet to be computed.

    Args:
        logits: The model's.
        config: How to choose.
        position: Of the token in the text, from 0.
        counts: What came before; needed unless the config `is_plain`.
    """
    if not config.is_plain:
        assert counts is not None
        logits = penalised(logits, config, counts)
    if config.temperature == 0:
        return mx.argmax(logits)
    return mx.random.categorical(kept_logits(logits, config), key=position_key(config.seed, position))


def next_token(logits: Float[mx.array, " V"], config: GenerationConfig, position: int) -> int:
    """The token after these logits.

    >>> next_token(mx.array([0.1, 2.0, 0.3]), GenerationConfig(), position=0)
    1
    """
    return int(draw(logits, config, position, count([], logits.size)))


def penalised(logits: Float[mx.array, " V"], config: GenerationConfig, counts: Counts) -> Float[mx.array, " V"]:
    """The logits after bias and penalties.

    >>> counts = count([0], 3).add(mx.array(2)).add(mx.array(2))
    >>> config = GenerationConfig(repetition_penalty=2.0, frequency_penalty=0.5, logit_bias={1: -1.0})
    >>> penalised(mx.array([4.0, 4.0, -4.0]), config, counts)
    array([2, 3, -9], dtype=float32)
    """
    logits = logits.astype(mx.float32)
    if config.logit_bias:
        check_bias(config.logit_bias, logits.size)
        tokens = mx.array(list(config.logit_bias))
        logits = logits.at[tokens].add(mx.array(list(config.logit_bias.values())))
    if config.repetition_penalty != 1:
        weaker = mx.where(logits > 0, logits / config.repetition_penalty, logits * config.repetition_penalty)
        logits = mx.where(counts.prompt + counts.text > 0, weaker, logits)
    return logits - config.frequency_penalty * counts.text - config.presence_penalty * (counts.text > 0)


def kept_logits(logits: Float[mx.array, " V"], config: GenerationConfig) -> Float[mx.array, " V"]:
    """The logits over the temperature, minus infinity where a filter leaves a token out.

    >>> kept_logits(mx.array([0.0, 2.0, 1.0]), GenerationConfig(temperature=0.5, top_k=2))
    array([-inf, 4, 2], dtype=float32)
    """
    scaled = logits.astype(mx.float32) / config.temperature
    if not (config.top_k or config.top_p < 1 or config.min_p):
        return scaled
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


class TokenLogprob(NamedTuple):
    """How likely the model, before any sampling setting, held a token."""

    logprob: float
    """Natural logarithm of its probability."""
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens and theirs, descending."""


def token_logprob(logits: Float[mx.array, " V"], token: int, top: int) -> TokenLogprob:
    """A token's log-probability, and those of the `top` likeliest.

    >>> token_logprob(mx.zeros((4,)), token=1, top=0)
    TokenLogprob(logprob=-1.3862943649291992, top=())
    """
    logits = logits.astype(mx.float32)
    logprobs = logits - mx.logsumexp(logits)
    best = integers(mx.argsort(-logprobs)[:top]) if top else []
    return TokenLogprob(float(logprobs[token]), tuple((index, float(logprobs[index])) for index in best))
