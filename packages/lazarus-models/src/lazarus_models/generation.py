"""A prompt continued token by token, as ids or as text.

With the key/value cache a prompt is read once and every step costs one token; without it, every step reads
everything again. Both give the same greedy text.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lazarus_models.backend import mx
from lazarus_models.errors import GenerationError
from lazarus_models.huggingface import LoadedModel
from lazarus_models.parameters import evaluate
from lazarus_models.sample import GenerationConfig, next_token
from lazarus_tokenkit import Encoder, Message, Tokenizer

_PREFILL = 512  # tokens of a prompt read at once: enough to keep the matrix products busy, few enough for memory
_CONTEXT = 6  # tokens decoded again before a new piece: what a decoder looks back for spaces and split characters
_BROKEN = "\ufffd"  # what decoders give for the first bytes of a character whose last ones are yet to come


@dataclass(frozen=True)
class Generation:
    """A finished text and how it came about."""

    text: str
    """The new text only, without the stop token."""
    ids: tuple[int, ...]
    """The new tokens, a stop token included."""
    prompt_tokens: int
    seconds: float
    """From the prompt to the last token."""
    finish_reason: Literal["stop", "length", "context"]
    """A stop token came; `max_new_tokens` was reached; the model's `max_position_embeddings` was."""

    @property
    def tokens_per_s(self) -> float:
        """New tokens a second, reading the prompt included."""
        return len(self.ids) / self.seconds


def generate_tokens(
    model: Any, prompt_ids: Sequence[int], config: GenerationConfig, *, use_cache: bool = True
) -> Iterator[int]:
    """Yields new tokens until `max_new_tokens` or, as the last one, a stop id.

    Args:
        model: Callable: ids (1, T), cache -> logits (1, T, V).
        prompt_ids: At least one token.
        config: `stop_ids` None means none here: a bare model knows no ends.
        use_cache: Whether to keep keys and values; without them every step reads the whole text.
    """
    if not prompt_ids:
        raise GenerationError("the prompt has no tokens; give a text, or a tokenizer that begins with BOS", "LM-E140")
    stop_ids = frozenset(config.stop_ids or ())
    step = _cached(model, prompt_ids) if use_cache else _uncached(model, prompt_ids)
    logits = next(step)
    for position in range(config.max_new_tokens):
        token = next_token(logits, config, position)
        yield token
        if token in stop_ids or position + 1 == config.max_new_tokens:
            return
        logits = step.send(token)


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


def generate(
    lm: LoadedModel,
    prompt: str | Sequence[Message],
    config: GenerationConfig = GenerationConfig(),  # noqa: B008 (frozen)
    *,
    raw: bool = False,
    on_text: Callable[[str], object] = str,
) -> Generation:
    """Answers a prompt.

    Args:
        lm: Answers.
        prompt: A user's text, or messages; see `prompt_ids`.
        config: How to continue; `stop_ids` None means those of `lm`.
        raw: Continue a text as it is, without a template.
        on_text: Is given the text in pieces of whole characters as they come.

    Raises:
        GenerationError: The prompt is longer than the model's context, or holds an id that the model does not know.
    """
    ids = prompt_ids(lm, prompt, raw=raw)
    context = lm.config.max_position_embeddings
    room = config.max_new_tokens if context is None else context - len(ids)
    if room <= 0:
        raise GenerationError(
            f"the prompt has {len(ids)} tokens, the model's context is {context} "
            "(`max_position_embeddings`); shorten it",
            "LM-E142",
        )
    if max(ids, default=0) >= lm.config.vocab_size:
        raise GenerationError(
            f"the prompt holds id {max(ids)}, the model knows ids below {lm.config.vocab_size}; is it this tokenizer?",
            "LM-E143",
        )
    stop_ids = lm.stop_ids if config.stop_ids is None else config.stop_ids
    bounded = config.model_copy(update={"stop_ids": stop_ids, "max_new_tokens": min(config.max_new_tokens, room)})
    start = time.perf_counter()
    new: list[int] = []
    text: list[str] = []
    tokens = _recorded(generate_tokens(lm.model, ids, bounded), new)
    for piece in decode_stream(lm.tokenizer, ids, (token for token in tokens if token not in stop_ids)):
        text.append(piece)
        on_text(piece)
    seconds = time.perf_counter() - start
    reason = "stop" if new[-1] in stop_ids else "length" if len(new) == config.max_new_tokens else "context"
    return Generation("".join(text), tuple(new), len(ids), seconds, reason)


def decode_stream(tokenizer: Tokenizer, before: Sequence[int], new: Iterable[int]) -> Iterator[str]:
    """Decodes tokens as they come, holding back a character until its last byte is there.

    Args:
        tokenizer: Decodes.
        before: The prompt, which decides whether the first piece begins with a space.
        new: The tokens to show.
    """
    window = list(before[-_CONTEXT:])
    shown = len(window)
    for token in new:
        window.append(token)
        piece = _last_piece(tokenizer, window, shown)
        if piece and not piece.endswith(_BROKEN):
            yield piece
            window, shown = window[-_CONTEXT:], min(len(window), _CONTEXT)
    if piece := _last_piece(tokenizer, window, shown):
        yield piece


def _last_piece(tokenizer: Tokenizer, window: list[int], shown: int) -> str:
    old = tokenizer.decode(window[:shown], skip_special=True)
    return tokenizer.decode(window, skip_special=True)[len(old) :]


def _recorded(tokens: Iterable[int], record: list[int]) -> Iterator[int]:
    for token in tokens:
        record.append(token)
        yield token


def _cached(model: Any, ids: Sequence[int]) -> Generator[mx.array, int]:
    """Yields the logits (V,) after the prompt, then after each token sent."""
    cache: list[Any] = model.make_cache()
    *head, last = ids
    for start in range(0, len(head), _PREFILL):
        model(mx.array([head[start : start + _PREFILL]]), cache=cache)
        evaluate([layer.state for layer in cache])  # the logits of a prompt are never asked for, so never computed
    while True:
        last = yield model(mx.array([[last]]), cache=cache)[0, -1]


def _uncached(model: Any, ids: Sequence[int]) -> Generator[mx.array, int]:
    read = list(ids)
    while True:
        read.append((yield model(mx.array([read]))[0, -1]))
