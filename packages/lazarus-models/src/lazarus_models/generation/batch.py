"""Continuous batching: each prompt is read without padding, then joins a batch that generates one token a step.

Without padding every family is exact: padding would change the state of a state-space layer and the chunks of positions.
When a text ends, the next prompt takes its place.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from lazarus_models.backend import mx
from lazarus_models.generation.autoregressive import Generation, answer, bounded, prompt_ids
from lazarus_models.generation.constraint import Constraint
from lazarus_models.generation.prompt_cache import PromptCache, read_texts, read_tokens
from lazarus_models.generation.prompt_scores import read_scored
from lazarus_models.generation.sampling import (
    Counts,
    GenerationConfig,
    TokenLogprob,
    count,
    draw,
    draw_unfiltered,
    token_logprob,
)
from lazarus_models.generation.steps import Recorded, check_request
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.ops.normalizer import log_probabilities
from lazarus_models.trees import begin, evaluate, integers
from lazarus_tokenkit import Message


@dataclass(frozen=True)
class Entry:
    """A prompt that joins a batch."""

    index: int
    """The caller's number of the text."""
    ids: list[int]
    """Token ids of the prompt."""
    config: GenerationConfig
    constraint: Constraint | None = None
    """Restricts the tokens of the text."""
    is_scored: bool = False
    """Whether the log-probabilities of the prompt's own tokens are recorded."""


@dataclass
class Row:
    """A text in the batch."""

    index: int
    config: GenerationConfig
    counts: Counts | None
    constraint: Constraint | None = None
    prompt_logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])
    """Log-probabilities of the prompt's tokens after the first; empty unless the prompt is scored."""
    ids: list[int] = field(default_factory=list[int])
    logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])

    def take(self, token: int, logits: mx.array) -> bool:
        """Appends a token.

        Args:
            token: The token.
            logits: Logits from which it was drawn, float, (V,).

        Returns:
            Whether the text has ended.
        """
        self.ids.append(token)
        if self.config.logprobs is not None:
            self.logprobs.append(token_logprob(logits, token, self.config.logprobs))
        return token in (self.config.stop_ids or ()) or len(self.ids) == self.config.max_new_tokens


def generate_batch(
    lm: LoadedModel,
    prompts: Sequence[str | Sequence[Message]],
    config: GenerationConfig = GenerationConfig(),  # noqa: B008 (frozen)
    *,
    raw: bool = False,
    batch_size: int = 8,
    on_done: Callable[[int, Generation], object] = lambda index, done: None,
    on_read: Callable[[int, float], object] | None = None,
) -> list[Generation]:
    """Answers several prompts in one batch.

    Args:
        lm: The model.
        prompts: Users' messages, or conversations.
        config: Generation settings of every prompt.
        raw: Continue texts without a chat template.
        batch_size: Largest number of texts in the batch.
        on_done: Called with index and result of each prompt as soon as it is finished.
        on_read: Called with the tokens of each group of prompts that joined, and the seconds of reading them.

    Returns:
        One result a prompt, in the same order.

    Raises:
        GenerationError: A prompt is empty or longer than the model's context.
    """
    asked = [prompt_ids(lm, prompt, raw=raw) for prompt in prompts]
    own = [bounded(lm, ids, config) for ids in asked]
    start = time.perf_counter()
    answers: dict[int, Generation] = {}
    for row in _ended(lm.model, zip(asked, own, strict=True), batch_size, on_read):
        recorded = Recorded(iter(row.ids), row.ids, row.logprobs)
        done = answer(lm, asked[row.index], config, own[row.index], recorded, start, str)
        answers[row.index] = done
        on_done(row.index, done)
    return [answers[index] for index in range(len(prompts))]


def batch_tokens(
    model: Any, prompts: Sequence[tuple[list[int], GenerationConfig]], *, batch_size: int = 8
) -> list[list[int]]:
    """`generate_tokens` for several prompts in one batch.

    Args:
        model: A `Decoder`.
        prompts: Token ids and generation settings of each prompt.
        batch_size: Largest number of texts in the batch.

    Returns:
        The new tokens of each prompt, in the same order.
    """
    texts = {row.index: row.ids for row in _ended(model, prompts, batch_size)}
    return [texts[index] for index in range(len(prompts))]


class BatchRunner:
    """A batch of texts; prompts join and finished texts leave between steps."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._rows: list[Row] = []
        self._layers: list[Any] = []
        self._logits = mx.zeros((0, 0))
        """Logits from which the next tokens are drawn, (B, V)."""
        self._tokens = mx.zeros((0,), dtype=mx.uint32)
        """The next token of each text, (B,), not yet evaluated."""
        self._drawn_from = self._logits
        """Logits from which the tokens of the last `step` were drawn, (B, V)."""

    def __len__(self) -> int:
        return len(self._rows)

    def join(self, entries: Sequence[Entry]) -> None:
        """Reads prompts and adds them to the batch.

        Args:
            entries: The prompts.

        Raises:
            GenerationError: A prompt or a `logit_bias` contains an id outside the vocabulary.
        """
        if not entries:
            return
        for entry in entries:
            check_request(self._model, entry.ids, entry.config)
        read = _read(self._model, entries)
        logits = mx.stack([last for _, last, _ in read])
        rows = [
            Row(
                entry.index,
                entry.config,
                None if entry.config.is_plain else count(entry.ids, logits.shape[1]),
                entry.constraint,
                scores,
            )
            for entry, (_, _, scores) in zip(entries, read, strict=True)
        ]
        layers = [kinds[0].merge(kinds) for kinds in zip(*(cache.layers for cache, _, _ in read), strict=True)]
        tokens = _draw(rows, logits, 0)
        if self._rows:
            for layer, other in zip(self._layers, layers, strict=True):
                layer.extend(other)
            self._logits = mx.concatenate([self._logits, logits])
            self._tokens = mx.concatenate([self._tokens, tokens])
        else:
            self._layers, self._logits, self._tokens = layers, logits, tokens
        self._rows += rows

    def step(self) -> list[tuple[Row, bool]]:
        """Generates one token of each text. The computation of the following tokens starts before this one is returned.

        Returns:
            Each text, with its new token last in `ids`, and whether it has ended. Ended texts leave the batch.
        """
        tokens, logits = self._tokens, self._logits
        self._drawn_from = logits
        goes_on = any(len(row.ids) + 1 < row.config.max_new_tokens for row in self._rows)
        if goes_on:  # started before it is known which texts end
            for place, row in enumerate(self._rows):
                row.counts = row.counts and row.counts.add(tokens[place])
            self._logits = read_tokens(self._model, tokens, self._layers)
            _advance(self._rows, tokens, self._logits)
            self._tokens = _draw(self._rows, self._logits, 1)
            begin(self._tokens)
        drawn = integers(tokens)
        took = [(row, row.take(drawn[place], logits[place])) for place, row in enumerate(self._rows)]
        self.keep([place for place, (_, ended) in enumerate(took) if not ended])
        return took

    def log_probabilities(self, temperature: float = 1.0) -> mx.array:
        """Log-probabilities of the whole vocabulary for the tokens of the last `step`, float32 (B, V), in the order of its texts.

        Args:
            temperature: Divisor of the logits, above 0.
        """
        return log_probabilities(self._drawn_from, temperature)

    def wait(self) -> None:
        """Waits until the next token of each text is computed."""
        evaluate(self._tokens)

    def keep(self, places: list[int]) -> None:
        """Removes the texts at all other places."""
        if len(places) == len(self._rows):
            return
        self._rows = [self._rows[place] for place in places]
        if self._rows:
            kept = mx.array(places)
            self._logits, self._tokens = self._logits[kept], self._tokens[kept]
            for layer in self._layers:
                layer.filter(kept)

    def drop(self, index: int) -> None:
        """Removes a text before its end."""
        self.keep([place for place, row in enumerate(self._rows) if row.index != index])


class SeparateRunner:
    """`BatchRunner` with a batch of its own for each text, so that no bit of a text depends on the others."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._runners: dict[int, BatchRunner] = {}

    def join(self, entries: Sequence[Entry]) -> None:
        """See `BatchRunner.join`."""
        new: dict[int, BatchRunner] = {}
        for entry in entries:
            new[entry.index] = BatchRunner(self._model)
            new[entry.index].join([entry])
        self._runners |= new

    def step(self) -> list[tuple[Row, bool]]:
        """See `BatchRunner.step`."""
        took = [one for runner in self._runners.values() for one in runner.step()]
        for row, ended in took:
            if ended:
                self.drop(row.index)
        return took

    def drop(self, index: int) -> None:
        """See `BatchRunner.drop`."""
        del self._runners[index]


def _read(model: Any, entries: Sequence[Entry]) -> list[tuple[PromptCache, mx.array, list[TokenLogprob]]]:
    """Cache, logits (V,) and scores of each prompt. Equal prompts are read once; merging caches copies them."""
    plain = {tuple(entry.ids): entry.ids for entry in entries if not entry.is_scored}
    read = dict(zip(plain, read_texts(model, list(plain.values())), strict=True))
    return [
        read_scored(model, entry.ids, entry.config.logprobs or 0) if entry.is_scored else (*read[tuple(entry.ids)], [])
        for entry in entries
    ]


def _advance(rows: Sequence[Row], tokens: mx.array, logits: mx.array) -> None:
    """Advances the grammars of constrained texts, while the next logits are computed."""
    if not any(row.constraint for row in rows):
        return
    begin(logits)
    drawn = integers(tokens)
    for place, row in enumerate(rows):
        if row.constraint is not None:
            row.constraint.take(drawn[place])


def _ended(
    model: Any,
    prompts: Iterable[tuple[list[int], GenerationConfig]],
    batch_size: int,
    on_read: Callable[[int, float], object] | None = None,
) -> Iterator[Row]:
    waiting = enumerate(prompts)
    runner = BatchRunner(model)
    while True:
        start = time.perf_counter()
        joining = [Entry(index, ids, config) for index, (ids, config) in islice(waiting, batch_size - len(runner))]
        runner.join(joining)
        if joining and on_read is not None:
            runner.wait()
            on_read(sum(len(each.ids) for each in joining), time.perf_counter() - start)
        if not len(runner):
            return
        yield from (row for row, ended in runner.step() if ended)


def _draw(rows: Sequence[Row], logits: mx.array, ahead: int) -> mx.array:
    """Draws a token of each text, `ahead` places after its next one, without evaluating it."""
    if all(row.config.is_plain and row.config.temperature == 0 and row.constraint is None for row in rows):
        return mx.argmax(logits, axis=-1)
    temperature = rows[0].config.temperature
    if all(
        row.config.is_unfiltered and row.constraint is None and row.config.temperature == temperature for row in rows
    ):
        places = [(row.config.seed, len(row.ids) + ahead) for row in rows]
        return draw_unfiltered(logits, temperature, places)
    drawn = [
        draw(_allowed(logits[place], row.constraint), row.config, len(row.ids) + ahead, row.counts)
        for place, row in enumerate(rows)
    ]
    return mx.stack(drawn).astype(mx.uint32)


def _allowed(logits: mx.array, constraint: Constraint | None) -> mx.array:
    """The logits (V,), minus infinity for tokens that the grammar excludes."""
    return logits if constraint is None else mx.where(constraint.allowed(), logits, -mx.inf)
