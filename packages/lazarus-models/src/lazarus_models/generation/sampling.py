"""Sampling of the next token from logits.

V = vocabulary

The order of the steps is that of transformers: bias and penalties, temperature, top-k, top-p, min-p. The key of a draw is a
function of (seed, position), and the global generator is not used. So a seed determines a text: alone or in a batch, with a
draft model or without.
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
# MLX leaves what `at[...].add` takes untyped:
# pyright: reportUnknownMemberType=false
import math
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, cast

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
from lazarus_models.ops.normalizer import log_normalizer
from lazarus_models.trees import integers
from lazarus_models.vocabulary import check_bias, check_ids

_Id = Annotated[int, Field(ge=0, lt=2**31)]
"""A token id within MLX's int32."""
_Finite = Annotated[float, Field(allow_inf_nan=False)]


def _is_bias(value: float) -> float:
    if not (value == -math.inf or abs(value) <= _LARGEST_BIAS):
        raise ValueError(f"a bias must be within plus and minus {_LARGEST_BIAS:g}, or minus infinity")
    return value


_LARGEST_BIAS = 1e30
"""Far below float32's maximum of 3e38, so that logits with biases and penalties stay finite."""
_Bias = Annotated[float, AfterValidator(_is_bias)]


class GenerationConfig(BaseModel):
    """Settings of generation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_new_tokens: PositiveInt = 256
    """Largest number of new tokens."""
    temperature: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0
    """Divisor of the logits; 0 always takes the most likely token (greedy)."""
    top_k: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Samples from the k most likely tokens; 0 for all tokens."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Samples from the smallest set of most likely tokens with a total probability of at least p."""
    min_p: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Samples from tokens with at least this fraction of the largest probability."""
    repetition_penalty: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1.0
    """Divides positive and multiplies negative logits of tokens in the prompt or the text (CTRL, arXiv 1909.05858)."""
    frequency_penalty: _Finite = 0.0
    """Subtracted from a token's logit for each occurrence in the text (as in OpenAI's interface)."""
    presence_penalty: _Finite = 0.0
    """Subtracted once from the logit of every token in the text (as in OpenAI's interface)."""
    logit_bias: dict[_Id, _Bias] = Field(default_factory=dict[int, float])
    """Added to the logits of these tokens; minus infinity excludes a token."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Random seed of every draw."""
    stop_ids: tuple[_Id, ...] | None = None
    """Tokens that end the text; None for the model's own, () for none."""
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Texts that end the text and are not part of it."""
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    """Records the log-probability of each token and of this many most likely tokens; None for no recording."""

    @model_validator(mode="after")
    def _greedy_ignores_nothing(self) -> "GenerationConfig":
        idle = [name for name in ("top_k", "top_p", "min_p") if name in self.model_fields_set]
        idle = [name for name in idle if getattr(self, name) != type(self).model_fields[name].default]
        if self.temperature == 0 and idle:
            raise ValueError(f"`{idle[0]}` has no effect while `temperature` is 0 (greedy); set a `temperature`")
        return self

    @property
    def is_plain(self) -> bool:
        """Whether the settings change no logits: no bias and no penalties."""
        penalties = (self.repetition_penalty, self.frequency_penalty, self.presence_penalty)
        return penalties == (1.0, 0.0, 0.0) and not self.logit_bias

    @property
    def is_unfiltered(self) -> bool:
        """Whether a token is drawn from the softmax of the logits over the temperature: `is_plain`, without filters."""
        filters = (self.top_k, self.top_p, self.min_p)
        return self.is_plain and self.temperature > 0 and filters == (0, 1.0, 0.0)


class Counts(NamedTuple):
    """The number of occurrences of each token."""

    prompt: Int[mx.array, " V"]
    """Occurrences in the prompt."""
    text: Int[mx.array, " V"]
    """Occurrences in the new text."""

    def add(self, token: mx.array) -> "Counts":
        """The counts after one more token of the text."""
        return self._replace(text=self.text.at[token].add(1))


def count(prompt: list[int], vocabulary: int) -> Counts:
    """The counts of a prompt.

    Args:
        prompt: Token ids.
        vocabulary: Size of the vocabulary V.

    >>> count([1, 1, 2], 4).prompt.tolist()
    [0, 2, 1, 0]
    """
    check_ids(prompt, vocabulary, "the prompt")
    none = mx.zeros((vocabulary,), dtype=mx.int32)
    return Counts(none.at[mx.array(prompt, dtype=mx.int32)].add(1) if prompt else none, none)


def position_key(seed: int, position: int) -> UInt32[mx.array, "2"]:
    """The random key of the draw at a position.

    Args:
        seed: Random seed, in [0, 2**32).
        position: Position in the text, in [0, 2**32).

    >>> position_key(7, 3)
    array([7, 3], dtype=uint32)
    """
    return mx.random.key(seed << 32 | position)  # MLX splits 64 bits into the two words of a key


def draw(
    logits: Float[mx.array, " V"], config: GenerationConfig, position: int, counts: Counts | None = None
) -> mx.array:
    """Draws the next token, without evaluating it.

    Args:
        logits: Logits of the model, float, (V,).
        config: Settings.
        position: Position of the token in the new text, from 0.
        counts: Counts of earlier tokens; required unless the config `is_plain`.
    """
    if not config.is_plain:
        assert counts is not None
        logits = penalised(logits, config, counts)
    if config.temperature == 0:
        return mx.argmax(logits)
    return mx.random.categorical(kept_logits(logits, config), key=position_key(config.seed, position))


def draw_unfiltered(
    logits: Float[mx.array, "B V"], temperature: float, places: Sequence[tuple[int, int]]
) -> UInt32[mx.array, " B"]:
    """`draw` for a batch of texts of one temperature, bit for bit, by one operation instead of one a text.

    Args:
        logits: Logits of the model, float, (B, V).
        temperature: Divisor of the logits, above 0; the settings are otherwise `GenerationConfig.is_unfiltered`.
        places: Seed and position of each draw.
    """
    keys = mx.stack([position_key(seed, position) for seed, position in places])

    def drawn(line: mx.array, key: mx.array) -> mx.array:
        return mx.random.categorical(line, key=key)

    each = cast("Any", mx.vmap)(drawn)
    return each(logits.astype(mx.float32) / temperature, keys).astype(mx.uint32)


def next_token(logits: Float[mx.array, " V"], config: GenerationConfig, position: int) -> int:
    """Draws the next token, without penalties for earlier tokens.

    Args:
        logits: Logits of the model, float, (V,).
        config: Settings.
        position: Position of the token in the new text, from 0.

    >>> next_token(mx.array([0.1, 2.0, 0.3]), GenerationConfig(), position=0)
    1
    """
    return int(draw(logits, config, position, count([], logits.size)))


def penalised(logits: Float[mx.array, " V"], config: GenerationConfig, counts: Counts) -> Float[mx.array, " V"]:
    """The logits after bias and penalties.

    Args:
        logits: Logits of the model, float, (V,).
        config: Settings.
        counts: Counts of earlier tokens.

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
        # Both directions lower the logit: a positive one is divided, a negative one multiplied.
        weaker = mx.where(logits > 0, logits / config.repetition_penalty, logits * config.repetition_penalty)
        logits = mx.where(counts.prompt + counts.text > 0, weaker, logits)
    return logits - config.frequency_penalty * counts.text - config.presence_penalty * (counts.text > 0)


def kept_logits(logits: Float[mx.array, " V"], config: GenerationConfig) -> Float[mx.array, " V"]:
    """The logits divided by the temperature; minus infinity for tokens that top-k, top-p or min-p exclude.

    Args:
        logits: Logits after penalties, float, (V,).
        config: Settings with a temperature above 0.

    >>> kept_logits(mx.array([0.0, 2.0, 1.0]), GenerationConfig(temperature=0.5, top_k=2))
    array([-inf, 4, 2], dtype=float32)
    """
    scaled = logits.astype(mx.float32) / config.temperature
    if not (config.top_k or config.top_p < 1 or config.min_p):
        return scaled
    order = mx.argsort(-scaled)  # all filters keep a prefix of this order
    probabilities = mx.softmax(scaled[order])
    kept = mx.ones(order.shape, dtype=mx.bool_)
    if config.top_k:
        kept = kept & (mx.arange(order.size) < config.top_k)
        probabilities = mx.where(kept, probabilities, 0)
        probabilities = probabilities / probabilities.sum()  # top-p and min-p see the remaining distribution
    if config.top_p < 1:  # a token is kept if the tokens before it have not reached p
        kept = kept & (mx.cumsum(probabilities) - probabilities < config.top_p)
    kept = kept & (probabilities >= config.min_p * probabilities[0])
    rank = mx.argsort(order)  # inverse permutation: back to the order of the vocabulary
    return mx.where(kept[rank], scaled, -mx.inf)


class TokenLogprob(NamedTuple):
    """The log-probability of a token, before any sampling setting."""

    logprob: float
    """Natural logarithm of its probability."""
    top: tuple[tuple[int, float], ...] = ()
    """The most likely tokens with their log-probabilities, descending."""


def token_logprob(logits: Float[mx.array, " V"], token: int, top: int) -> TokenLogprob:
    """The log-probability of a token, and those of the most likely tokens.

    Args:
        logits: Logits of the model, float, (V,).
        token: The token.
        top: Number of most likely tokens, at least 0.

    >>> token_logprob(mx.zeros((4,)), token=1, top=0)
    TokenLogprob(logprob=-1.3862943649291992, top=())
    """
    logits = logits.astype(mx.float32)
    logprobs = logits - log_normalizer(logits)
    best = integers(mx.argsort(-logprobs)[:top]) if top else []
    return TokenLogprob(float(logprobs[token]), tuple((index, float(logprobs[index])) for index in best))
