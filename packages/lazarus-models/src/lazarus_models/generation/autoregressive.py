"""Autoregressive generation: a prompt is continued token by token, as ids or as text.

With the key/value cache a prompt is read once and each step computes one token. Without it, each step reads the whole text. Both
give the same greedy text. The next token is computed while the caller handles the current one.
"""

import reprlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lazarus_models.errors import GenerationError
from lazarus_models.generation.prompt_cache import PromptCache
from lazarus_models.generation.sampling import GenerationConfig, TokenLogprob
from lazarus_models.generation.steps import Recorded, generate_steps, recorded, refuse_empty
from lazarus_models.generation.streaming import decode_stream, until_stop
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.vocabulary import check_bias, check_ids
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


def bounded(
    lm: LoadedModel, ids: Sequence[int], config: GenerationConfig, *, is_read_only: bool = False
) -> GenerationConfig:
    """The config with the model's stop ids, and with `max_new_tokens` limited by its context.

    Args:
        lm: The model.
        ids: Token ids of the prompt.
        config: Generation settings.
        is_read_only: Whether no new token is wanted: then the prompt may fill the context.

    Raises:
        GenerationError: The prompt is empty or longer than the model's context, or an id of the prompt or of
            `logit_bias` is outside the vocabulary.
    """
    refuse_empty(ids)
    context = lm.config.max_position_embeddings
    room = config.max_new_tokens if context is None else context - len(ids)
    if room < (0 if is_read_only else 1):
        raise GenerationError(
            f"the prompt has {len(ids)} tokens, but the model's context is {context} "
            "(`max_position_embeddings`); shorten the prompt",
            "LM-E142",
        )
    check_ids(ids, lm.config.vocab_size, "the prompt")
    check_bias(config.logit_bias, lm.config.vocab_size)
    stop_ids = lm.stop_ids if config.stop_ids is None else config.stop_ids
    return config.model_copy(update={"stop_ids": stop_ids, "max_new_tokens": min(config.max_new_tokens, max(room, 1))})


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
