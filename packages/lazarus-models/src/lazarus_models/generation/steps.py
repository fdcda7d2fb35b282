"""New tokens one after another: the model reads the prompt once, then each drawn token."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from lazarus_models.backend import mx
from lazarus_models.errors import GenerationError
from lazarus_models.generation.prompt_cache import PromptCache, read_tokens
from lazarus_models.generation.sampling import Counts, GenerationConfig, TokenLogprob, count, draw, token_logprob
from lazarus_models.trees import begin
from lazarus_models.vocabulary import check_bias, check_ids, size_of


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


class Recorded(NamedTuple):
    """An iterator of new tokens, and lists of the tokens and log-probabilities that it has yielded."""

    tokens: Iterator[int]
    ids: list[int]
    logprobs: list[TokenLogprob]
    is_live: bool = False
    """Whether the tokens are generated while they are read, so that the time of the first one can be measured."""


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
    refuse_empty(ids)
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


def refuse_empty(ids: Sequence[int]) -> None:
    """Refuses a prompt without tokens."""
    if not ids:
        raise GenerationError("the prompt has no tokens; give a text, or use a tokenizer that adds BOS", "LM-E140")
