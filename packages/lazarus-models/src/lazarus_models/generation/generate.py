"""A prompt continued token by token, as ids or as text.

With the key/value cache a prompt is read once and every step costs one token; without it, every step reads
everything again. Both give the same greedy text. While a token is on its way to the caller the next one is being
computed.
"""

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
    """How long a text took.

    >>> GenerationStats(prompt_tokens=8, new_tokens=25, seconds=0.42).summary
    '25 tokens in 0.42 s (59.5 tok/s)'
    """

    prompt_tokens: int
    new_tokens: int
    seconds: float
    """From the prompt to the last token."""

    @property
    def tokens_per_s(self) -> float:
        """New tokens a second, reading the prompt included."""
        return self.new_tokens / self.seconds if self.seconds else 0.0

    @property
    def summary(self) -> str:
        """In words."""
        return f"{self.new_tokens} tokens in {self.seconds:.2f} s ({self.tokens_per_s:.1f} tok/s)"


@dataclass(frozen=True)
class Generation:
    """A finished text and how it came about."""

    text: str
    """The new text only, without what stopped it."""
    ids: tuple[int, ...]
    """The new tokens, a stop token included."""
    prompt_tokens: int
    seconds: float
    """From the prompt to the last token."""
    finish_reason: FinishReason
    """A stop token or text came; `max_new_tokens` was reached; the model's `max_position_embeddings` was."""
    logprobs: tuple[TokenLogprob, ...] | None = None
    """Of each token; None unless `GenerationConfig.logprobs` asks."""

    @property
    def stats(self) -> "GenerationStats":
        """How long it took."""
        return GenerationStats(self.prompt_tokens, len(self.ids), self.seconds)

    @property
    def tokens_per_s(self) -> float:
        """New tokens a second, reading the prompt included."""
        return self.stats.tokens_per_s


class Step(NamedTuple):
    """One new token."""

    id: int
    logits: mx.array
    """The model's (V,), from which it was drawn."""


def generate_tokens(
    model: Any, prompt_ids: Sequence[int], config: GenerationConfig, *, use_cache: bool = True
) -> Iterator[int]:
    """Yields new tokens until `max_new_tokens` or, as the last one, a stop id.

    Args:
        model: Callable: ids (1, T), cache -> logits (1, T, V).
        prompt_ids: At least one token.
        config: `stop_ids` None means none here: a bare model knows no ends. `stop` needs text: see `generate`.
        use_cache: Whether to keep keys and values; without them every step reads the whole text.
    """
    check_request(model, prompt_ids, config)
    reader = _Cached(model, PromptCache.empty(model)) if use_cache else _Uncached(model)
    return (step.id for step in _steps(reader, list(prompt_ids), config))


def generate_steps(
    model: Any, prompt_ids: Sequence[int], config: GenerationConfig, cache: PromptCache
) -> Iterator[Step]:
    """`generate_tokens` with the logits, going on from a cache that holds a beginning of the prompt."""
    check_request(model, prompt_ids, config)
    cache.check_model(model)
    return _steps(_Cached(model, cache), cache.rest(prompt_ids), config, whole=list(prompt_ids))


def prompt_ids(lm: LoadedModel, prompt: str | Sequence[Message], *, raw: bool = False) -> list[int]:
    """The ids a prompt becomes: the same ones, from the same encoder, as the prefix in training.

    Args:
        lm: Whose tokenizer and template to use.
        prompt: A user's text, or messages.
        raw: Take a text as it is, after BOS if the tokenizer adds one, without a template.
    """
    if raw:
        if not isinstance(prompt, str):
            raise GenerationError("`raw` takes a text, not messages: messages need a template", "LM-E141")
        tokenizer = lm.tokenizer
        bos = [tokenizer.bos_id] if tokenizer.adds_bos and tokenizer.bos_id is not None else []
        return [*bos, *tokenizer.encode(prompt)]
    messages = [Message(role="user", content=prompt)] if isinstance(prompt, str) else list(prompt)
    return Encoder(lm.tokenizer).prompt(messages)


def bounded(lm: LoadedModel, ids: Sequence[int], config: GenerationConfig) -> GenerationConfig:
    """The config with the model's own ends, and no more tokens than its context has room for.

    Raises:
        GenerationError: The prompt is empty, longer than the model's context, or the prompt or `logit_bias` holds an id
            that the model does not have.
    """
    _refuse_empty(ids)
    context = lm.config.max_position_embeddings
    room = config.max_new_tokens if context is None else context - len(ids)
    if room <= 0:
        raise GenerationError(
            f"the prompt has {len(ids)} tokens, the model's context is {context} "
            "(`max_position_embeddings`); shorten it",
            "LM-E142",
        )
    check_ids(ids, lm.config.vocab_size, "the prompt")
    check_bias(config.logit_bias, lm.config.vocab_size)
    stop_ids = lm.stop_ids if config.stop_ids is None else config.stop_ids
    return config.model_copy(update={"stop_ids": stop_ids, "max_new_tokens": min(config.max_new_tokens, room)})


def check_request(model: Any, ids: Sequence[int], config: GenerationConfig) -> None:
    """Refuses token ids that a model does not have, where the next step hands them to MLX.

    Args:
        model: Reads the ids. A callable without a config is not checked: nothing says its vocabulary.
        ids: A prompt.
        config: Its `logit_bias` is checked.

    Raises:
        GenerationError: An id lies outside the model's vocabulary.
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
        lm: Answers.
        prompt: A user's text, or messages; see `prompt_ids`.
        config: How to continue; `stop_ids` None means those of `lm`.
        raw: Continue a text as it is, without a template.
        on_text: Is given the text in pieces of whole characters as they come.
        cache: What was read already; what this prompt begins with is not read again.

    Raises:
        GenerationError: The prompt is empty, longer than the model's context, or holds an id that the model does not
            know.
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
    """Answers a prompt piece by piece, in whole characters; `generate` for the whole and its figures."""
    ids = prompt_ids(lm, prompt, raw=raw)
    own = bounded(lm, ids, config)
    stop_ids = own.stop_ids or ()
    steps = generate_steps(lm.model, ids, own, PromptCache.empty(lm.model))
    yield from until_stop(
        decode_stream(lm.tokenizer, ids, (step.id for step in steps if step.id not in stop_ids)), own.stop
    )


class Recorded(NamedTuple):
    """New tokens as they come, and what has come."""

    tokens: Iterator[int]
    ids: list[int]
    logprobs: list[TokenLogprob]


def answer(
    lm: LoadedModel,
    ids: Sequence[int],
    asked: GenerationConfig,
    own: GenerationConfig,
    tokens: Recorded,
    start: float,
    on_text: Callable[[str], object],
) -> Generation:
    """Reads tokens to their end, as text."""
    stop_ids = own.stop_ids or ()
    pieces = decode_stream(lm.tokenizer, ids, (token for token in tokens.tokens if token not in stop_ids))
    text: list[str] = []
    stopped = _read_out(pieces, own.stop, text, on_text)
    reason = _finish_reason(tokens.ids, stopped, asked, own)
    logprobs = None if own.logprobs is None else tuple(tokens.logprobs)
    return Generation("".join(text), tuple(tokens.ids), len(ids), time.perf_counter() - start, reason, logprobs)


def _read_out(pieces: Iterable[str], stops: Sequence[str], text: list[str], on_text: Callable[[str], object]) -> bool:
    """Hands on pieces of text up to a stop text; says whether one came."""
    stream = until_stop(pieces, stops)
    while True:
        try:
            piece = next(stream)
        except StopIteration as done:
            return bool(done.value)
        text.append(piece)
        on_text(piece)


def _finish_reason(new: Sequence[int], stopped: bool, asked: GenerationConfig, own: GenerationConfig) -> FinishReason:
    """Why a text ended."""
    if stopped or (new and new[-1] in (own.stop_ids or ())):
        return "stop"
    return "length" if len(new) == asked.max_new_tokens else "context"


def recorded(steps: Iterable[Step], config: GenerationConfig) -> Recorded:
    """Steps that are written down as they come."""
    ids: list[int] = []
    logprobs: list[TokenLogprob] = []

    def tokens() -> Iterator[int]:
        for step in steps:
            ids.append(step.id)
            if config.logprobs is not None:
                logprobs.append(token_logprob(step.logits, step.id, config.logprobs))
            yield step.id

    return Recorded(tokens(), ids, logprobs)


class _Cached:
    """Reads a prompt once, and then a token at a time."""

    def __init__(self, model: Any, cache: PromptCache) -> None:
        self._model, self._cache = model, cache

    def start(self, ids: list[int]) -> mx.array:
        return self._cache.read(self._model, ids)

    def feed(self, token: mx.array) -> mx.array:
        return read_tokens(self._model, token[None], self._cache.layers)[0]

    def record(self, token: int) -> None:
        self._cache.ids.append(token)


class _Uncached:
    """Reads everything at every step."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._read: list[int] = []

    def start(self, ids: list[int]) -> mx.array:
        self._read += ids
        return self._model(mx.array([self._read]))[0, -1]

    def feed(self, token: mx.array) -> mx.array:
        return self.start([int(token)])

    def record(self, token: int) -> None:
        """It is in what was read."""


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
        raise GenerationError("the prompt has no tokens; give a text, or a tokenizer that begins with BOS", "LM-E140")
