"""Several prompts at once: each is read by itself and joins the others, who take a step together.

Reading by itself keeps every family exact: a state-space layer would carry padding along, and chunks of positions would
begin elsewhere. When a text ends, the next prompt takes its place.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lazarus_models.backend import mx
from lazarus_models.cache import PromptCache
from lazarus_models.generation import Generation, Recorded, answer, bounded, prompt_ids
from lazarus_models.huggingface import LoadedModel
from lazarus_models.parameters import begin
from lazarus_models.sample import Counts, GenerationConfig, TokenLogprob, count, draw, token_logprob
from lazarus_tokenkit import Message


@dataclass
class Row:
    """A text on its way."""

    index: int
    config: GenerationConfig
    token: mx.array
    """The next one, being computed."""
    logits: mx.array
    counts: Counts | None
    ids: list[int] = field(default_factory=list[int])
    logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])

    def take(self) -> bool:
        """Waits for the token; says whether the text has ended."""
        token = int(self.token)
        self.ids.append(token)
        if self.config.logprobs is not None:
            self.logprobs.append(token_logprob(self.logits, token, self.config.logprobs))
        return token in (self.config.stop_ids or ()) or len(self.ids) == self.config.max_new_tokens

    def draw(self, logits: mx.array) -> None:
        """The token after this one."""
        self.counts = self.counts and self.counts.add(self.token)
        self.logits = logits
        self.token = draw(logits, self.config, len(self.ids), self.counts)


def generate_batch(
    lm: LoadedModel,
    prompts: Sequence[str | Sequence[Message]],
    config: GenerationConfig = GenerationConfig(),  # noqa: B008 (frozen)
    *,
    raw: bool = False,
    batch_size: int = 8,
    on_done: Callable[[int, Generation], object] = lambda index, done: None,
) -> list[Generation]:
    """Answers several prompts, in their order.

    Args:
        lm: Answers.
        prompts: Users' texts, or conversations.
        config: How to continue each.
        raw: Continue texts as they are, without a template.
        batch_size: Texts on their way at once, at most.
        on_done: Is given each answer with its prompt's index as soon as it is finished.

    Raises:
        GenerationError: A prompt is empty or longer than the model's context.
    """
    asked = [prompt_ids(lm, prompt, raw=raw) for prompt in prompts]
    own = [bounded(lm, ids, config) for ids in asked]
    start = time.perf_counter()
    answers: dict[int, Generation] = {}
    for row in _ended(lm.model, zip(asked, own, strict=True), batch_size):
        recorded = Recorded(iter(row.ids), row.ids, row.logprobs)
        done = answer(lm, asked[row.index], config, own[row.index], recorded, start, str)
        answers[row.index] = done
        on_done(row.index, done)
    return [answers[index] for index in range(len(prompts))]


def batch_tokens(
    model: Any, prompts: Sequence[tuple[list[int], GenerationConfig]], *, batch_size: int = 8
) -> list[list[int]]:
    """`generate_tokens` of several prompts, each with a config of its own, in their order."""
    texts = {row.index: row.ids for row in _ended(model, prompts, batch_size)}
    return [texts[index] for index in range(len(prompts))]


class BatchRunner:
    """Texts on their way together; prompts join and ended texts leave between two steps."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._rows: list[Row] = []
        self._layers: list[Any] = []

    def __len__(self) -> int:
        return len(self._rows)

    def join(self, index: int, ids: list[int], config: GenerationConfig) -> None:
        """Reads a prompt, by itself, and puts it among the others."""
        cache = PromptCache.empty(self._model)
        logits = cache.read(self._model, ids)
        counts = None if config.is_plain else count(ids, logits.size)
        self._rows.append(Row(index, config, draw(logits, config, 0, counts), logits, counts))
        layers = [_batched(layer) for layer in cache.layers]
        if self._layers:
            for layer, other in zip(self._layers, layers, strict=True):
                layer.extend(other)
        else:
            self._layers = layers

    def step(self) -> list[tuple[Row, bool]]:
        """Waits for every text's next token and has the ones after them begun.

        Returns:
            Each text, its newest token last in `ids`, and whether it has ended; an ended one has left.
        """
        took = [(row, row.take()) for row in self._rows]
        self.keep([place for place, (_, ended) in enumerate(took) if not ended])
        if self._rows:
            logits = self._model(mx.stack([row.token for row in self._rows])[:, None], cache=self._layers)[:, -1]
            for place, row in enumerate(self._rows):
                row.draw(logits[place])
            begin([row.token for row in self._rows])
        return took

    def keep(self, places: list[int]) -> None:
        """Lets the texts at all other places go."""
        if len(places) == len(self._rows):
            return
        self._rows = [self._rows[place] for place in places]
        if not self._rows:
            self._layers = []
        for layer in self._layers:
            layer.filter(mx.array(places))

    def drop(self, index: int) -> None:
        """Lets a text go before its end."""
        self.keep([place for place, row in enumerate(self._rows) if row.index != index])


def _ended(model: Any, prompts: Iterable[tuple[list[int], GenerationConfig]], batch_size: int) -> Iterator[Row]:
    waiting = enumerate(prompts)
    runner = BatchRunner(model)
    while True:
        while len(runner) < batch_size and (entry := next(waiting, None)) is not None:
            runner.join(entry[0], *entry[1])
        if not len(runner):
            return
        yield from (row for row, ended in runner.step() if ended)


def _batched(layer: Any) -> Any:
    return layer.merge([layer])
