"""Autoregressive generation: a prompt is continued token by token, as ids or as text.

With the key/value cache a prompt is read once and each step computes one token. Without it, each step reads the whole text. Both
give the same greedy text. The next token is computed while the caller handles the current one.
"""

import reprlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from lazarus_models.backend import mx
from lazarus_models.errors import GenerationError
from lazarus_models.generation.prompt_cache import PromptCache, read_tokens
from lazarus_models.generation.sampling import Counts, GenerationConfig, TokenLogprob, count, draw, token_logprob
from lazarus_models.generation.streaming import decode_stream, until_stop
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.trees import begin
from lazarus_models.vocabulary import check_bias, check_ids, size_of
from lazarus_tokenkit import Encoder, Message

FinishReason = Literal["stop", "length", "context"]


class GenerationStats(NamedTuple):
    """Token counts and time of a generation.

    >>> GenerationStats(prompt_tokens=8, new_tokens=25, seconds=0.42).summary
    '25 tokens in 0.42 s (59.5 tok/s)'
    """

    prompt_tokens: int
    new_tokens: int
    seconds: float
    """Time from the start of the prompt to the last token."""

    @property
    def tokens_per_s(self) -> float:
        """New tokens a second; the time includes reading the prompt."""
        return self.new_tokens / self.seconds if self.seconds else 0.0

    @property
    def summary(self) -> str:
        """The figures as one line of text."""
        return f"{self.new_tokens} tokens in {self.seconds:.2f} s ({self.tokens_per_s:.1f} tok/s)"


@dataclass(frozen=True, repr=False)
class Generation:
    """A finished generation."""

    text: str
    """The new text, without the stop token or stop text."""
    ids: tuple[int, ...]
    """The new tokens, including the stop token."""
    prompt_tokens: int
    """Tokens of the prompt."""
    seconds: float
    """Time from the start of the prompt to the last token."""
    finish_reason: FinishReason
    """`stop`: a stop token or text. `length`: `max_new_tokens`. `context`: the model's `max_position_embeddings`."""
    logprobs: tuple[TokenLogprob, ...] | None = None
    """Log-probabilities of each token; None unless `GenerationConfig.logprobs` is set."""
    first_token_s: float | None = None
    """Time from the start of the prompt to the first token; None for a prompt of a batch, which waits for others."""

    def __repr__(self) -> str:
        return f"Generation({shortened(self.text)}, {self.stats.summary}, {self.finish_reason})"

    @property
    def stats(self) -> "GenerationStats":
        """Token counts and time."""
        return GenerationStats(self.prompt_tokens, len(self.ids), self.seconds)

    @property
    def tokens_per_s(self) -> float:
        """New tokens a second; the time includes reading the prompt."""
        return self.stats.tokens_per_s


def shortened(text: str) -> str:
    """The start and the end of a text as a literal of at most 64 characters.

    >>> shortened("Once upon a time, there was a little girl named Lily. She loved to play outside.")
    "'Once upon a time, there was a...ly. She loved to play outside.'"
    """
    return _SHORT.repr(text)


_SHORT = reprlib.Repr()
_SHORT.maxstring = 64  # with the quotation marks


class Step(NamedTuple):
    """One new token."""

    id: int
    logits: mx.array
    """Logits of the model from which the token was drawn, (V,)."""


def generate_tokens(
    model: Any, prompt_ids: Sequence[int], config: GenerationConfig, *, use_cache: bool = True
) -> Iterator[int]:
    """Yields new tokens up to `max_new_tokens`, or up to and including a stop id.

    Args:
        model: A `Decoder`, or without cache any callable from ids (1, T) to logits (1, T, V).
        prompt_ids: Token ids of the prompt, at least one.
        config: Generation settings. `stop_ids` None means no stop ids; `stop` is ignored, see `generate`.
        use_cache: Whether to use a key/value cache. Without one, every step reads the whole text.

    Raises:
        GenerationError: The prompt is empty, or an id is outside the vocabulary.
    """
    check_request(model, prompt_ids, config)
    reader = _Cached(model, PromptCache.empty(model)) if use_cache else _Uncached(model)
    return (step.id for step in _steps(reader, list(prompt_ids), config))


def generate_steps(
    model: Any, prompt_ids: Sequence[int], config: GenerationConfig, cache: PromptCache
) -> Iterator[Step]:
    """Yields new tokens with their logits, continuing from a cache.

    Args:
        model: A `Decoder`.
        prompt_ids: Token ids of the prompt.
        config: Generation settings; see `generate_tokens`.
        cache: Cache of a proper prefix of the prompt; it is updated.

    Raises:
        GenerationError: The cache is not one of this model and of a prefix of the prompt.
    """
    check_request(model, prompt_ids, config)
    cache.check_model(model)
    return _steps(_Cached(model, cache), cache.rest(prompt_ids), config, whole=list(prompt_ids))


def prompt_ids(lm: LoadedModel, prompt: str | Sequence[Message], *, raw: bool = False) -> list[int]:
    """Encodes a prompt, with the same encoder as in training.

    Args:
        lm: The model; its tokenizer and chat template are used.
        prompt: A user's message, or a conversation.
        raw: Encode a text without a chat template; BOS is added if the tokenizer adds it.

    Raises:
        GenerationError: `raw` was given with a conversation.
    """
    if raw:
        if not isinstance(prompt, str):
            raise GenerationError("`raw` needs a text; messages need a chat template", "LM-E141")
        tokenizer = lm.tokenizer
        bos = [tokenizer.bos_id] if tokenizer.adds_bos and tokenizer.bos_id is not None else []
        return [*bos, *tokenizer.encode(prompt)]
    messages = [Message(role="user", content=prompt)] if isinstance(prompt, str) else list(prompt)
    return Encoder(lm.tokenizer).prompt(messages)


def bounded(lm: LoadedModel, ids: Sequence[int], config: GenerationConfig) -> GenerationConfig:
    """The config with the model's stop ids, and with `max_new_tokens` limited by its context.

    Args:
        lm: The model.
        ids: Token ids of the prompt.
        config: Generation settings.

    Raises:
        GenerationError: The prompt is empty or longer than the model's context, or an id of the prompt or of
            `logit_bias` is outside the vocabulary.
    """
    _refuse_empty(ids)
    context = lm.config.max_position_embeddings
    room = config.max_new_tokens if context is None else context - len(ids)
    if room <= 0:
        raise GenerationError(
            f"the prompt has {len(ids)} tokens, but the model's context is {context} "
            "(`max_position_embeddings`); shorten the prompt",
            "LM-E142",
        )
    check_ids(ids, lm.config.vocab_size, "the prompt")
    check_bias(config.logit_bias, lm.config.vocab_size)
    stop_ids = lm.stop_ids if config.stop_ids is None else config.stop_ids
    return config.model_copy(update={"stop_ids": stop_ids, "max_new_tokens": min(config.max_new_tokens, room)})


def check_request(model: Any, ids: Sequence[int], config: GenerationConfig) -> None:
    """Refuses token ids outside a model's vocabulary.

    Args:
        model: The model. For a callable without a config nothing is checked, because its vocabulary is unknown.
        ids: Token ids of the prompt.
        config: Generation settings; `logit_bias` is checked.

    Raises:
        GenerationError: An id is outside the vocabulary.
    """
    size = size_of(model)
    if size is not None:
        check_ids(ids, size, "the prompt")
        check_bias(config.logit_bias, size)


def generate(
    lm: LoadedModel,
    prompt: str | Sequence[Message],
    config: GenerationConfig = GenerationConfig(),  # noqa: B008 (frozen)
    *,
    raw: bool = False,
    on_text: Callable[[str], object] = str,
    cache: PromptCache | None = None,
) -> Generation:
    """Answers a prompt.

    Args:
        lm: The model.
        prompt: A user's message, or a conversation; see `prompt_ids`.
        config: Generation settings; `stop_ids` None means those of `lm`.
        raw: Continue a text without a chat template.
        on_text: Called with each new piece of text, in whole characters.
        cache: Cache of earlier prompts; a common prefix is not read again. None for a new cache.

    Raises:
        GenerationError: The prompt is empty or longer than the model's context, or an id is outside the vocabulary.
    """
    ids = prompt_ids(lm, prompt, raw=raw)
    own = bounded(lm, ids, config)
    start = time.perf_counter()
    if cache is None:
        cache = PromptCache.empty(lm.model)
    cache.go_back(lm.model, ids)
    return answer(lm, ids, config, own, recorded(generate_steps(lm.model, ids, own, cache), own), start, on_text)


def stream(
    lm: LoadedModel,
    prompt: str | Sequence[Message],
    config: GenerationConfig = GenerationConfig(),  # noqa: B008 (frozen)
    *,
    raw: bool = False,
) -> Iterator[str]:
    """Answers a prompt and yields the text in pieces of whole characters; see `generate`.

    Args:
        lm: The model.
        prompt: A user's message, or a conversation.
        config: Generation settings.
        raw: Continue a text without a chat template.
    """
    ids = prompt_ids(lm, prompt, raw=raw)
    own = bounded(lm, ids, config)
    stop_ids = own.stop_ids or ()
    steps = generate_steps(lm.model, ids, own, PromptCache.empty(lm.model))
    yield from until_stop(
        decode_stream(lm.tokenizer, ids, (step.id for step in steps if step.id not in stop_ids)), own.stop
    )


class Recorded(NamedTuple):
    """An iterator of new tokens, and lists of the tokens and log-probabilities that it has yielded."""

    tokens: Iterator[int]
    ids: list[int]
    logprobs: list[TokenLogprob]
    is_live: bool = False
    """Whether the tokens are generated while they are read, so that the time of the first one can be measured."""


def answer(
    lm: LoadedModel,
    ids: Sequence[int],
    asked: GenerationConfig,
    own: GenerationConfig,
    tokens: Recorded,
    start: float,
    on_text: Callable[[str], object],
) -> Generation:
    """Consumes tokens and builds the result.

    Args:
        lm: The model; its tokenizer decodes.
        ids: Token ids of the prompt.
        asked: Settings of the caller.
        own: The same after `bounded`.
        tokens: The new tokens.
        start: Value of `time.perf_counter` before the prompt was read.
        on_text: Called with each new piece of text.
    """
    stop_ids = own.stop_ids or ()
    first_s: float | None = None

    def timed() -> Iterator[int]:
        nonlocal first_s
        for token in tokens.tokens:
            if first_s is None and tokens.is_live:
                first_s = time.perf_counter() - start
            if token not in stop_ids:
                yield token

    pieces = decode_stream(lm.tokenizer, ids, timed())
    text: list[str] = []
    stopped = _read_out(pieces, own.stop, text, on_text)
    reason = _finish_reason(tokens.ids, stopped, asked, own)
    logprobs = None if own.logprobs is None else tuple(tokens.logprobs)
    seconds = time.perf_counter() - start
    return Generation("".join(text), tuple(tokens.ids), len(ids), seconds, reason, logprobs, first_s)


def _read_out(pieces: Iterable[str], stops: Sequence[str], text: list[str], on_text: Callable[[str], object]) -> bool:
    """Collects pieces of text up to a stop text; returns whether one came."""
    stream = until_stop(pieces, stops)
    while True:
        try:
            piece = next(stream)
        except StopIteration as done:
            return bool(done.value)
        text.append(piece)
        on_text(piece)


def _finish_reason(new: Sequence[int], stopped: bool, asked: GenerationConfig, own: GenerationConfig) -> FinishReason:
    """The reason for the end of a text."""
    if stopped or (new and new[-1] in (own.stop_ids or ())):
        return "stop"
    return "length" if len(new) == asked.max_new_tokens else "context"


def recorded(steps: Iterable[Step], config: GenerationConfig) -> Recorded:
    """Records the tokens of steps while they are consumed.

    Args:
        steps: Tokens with logits.
        config: Generation settings; with `logprobs`, log-probabilities are recorded too.
    """
    ids: list[int] = []
    logprobs: list[TokenLogprob] = []

    def tokens() -> Iterator[int]:
        for step in steps:
            ids.append(step.id)
            if config.logprobs is not None:
                logprobs.append(token_logprob(step.logits, step.id, config.logprobs))
            yield step.id

    return Recorded(tokens(), ids, logprobs, is_live=True)


class _Cached:
    """Reads a prompt once, then one token a step."""

    def __init__(self, model: Any, cache: PromptCache) -> None:
        self._model, self._cache = model, cache

    def start(self, ids: list[int]) -> mx.array:
        return self._cache.read(self._model, ids)

    def feed(self, token: mx.array) -> mx.array:
        return read_tokens(self._model, token[None], self._cache.layers)[0]

    def record(self, token: int) -> None:
        self._cache.ids.append(token)


class _Uncached:
    """Reads the whole text at every step."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._read: list[int] = []

    def start(self, ids: list[int]) -> mx.array:
        self._read += ids
        return self._model(mx.array([self._read]))[0, -1]

    def feed(self, token: mx.array) -> mx.array:
        return self.start([int(token)])

    def record(self, token: int) -> None:
        """Does nothing: `start` has recorded the token."""


def _steps(
    reader: _Cached | _Uncached, ids: list[int], config: GenerationConfig, whole: list[int] | None = None
) -> Iterator[Step]:
    _refuse_empty(ids)
    stop_ids = frozenset(config.stop_ids or ())
    logits = reader.start(ids)
    counts: Counts | None = None if config.is_plain else count(whole or ids, logits.size)
    token = draw(logits, config, 0, counts)
    begin(token)
    for position in range(config.max_new_tokens):
        current, shown = token, logits
        is_last = position + 1 == config.max_new_tokens
        if not is_last:
            counts = counts and counts.add(current)
            logits = reader.feed(current)
            token = draw(logits, config, position + 1, counts)
            begin(token)
        step = Step(int(current), shown)
        if not is_last:
            reader.record(step.id)
        yield step
        if step.id in stop_ids:
            return


def _refuse_empty(ids: Sequence[int]) -> None:
    if not ids:
        raise GenerationError("the prompt has no tokens; give a text, or use a tokenizer that adds BOS", "LM-E140")
