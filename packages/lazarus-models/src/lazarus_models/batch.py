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
class _Row:
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


def _ended(model: Any, prompts: Iterable[tuple[list[int], GenerationConfig]], batch_size: int) -> Iterator[_Row]:
    waiting = enumerate(prompts)
    rows: list[_Row] = []
    layers: list[Any] = []
    while True:
        while len(rows) < batch_size and (entry := next(waiting, None)) is not None:
            index, (ids, config) = entry
            cache = PromptCache.empty(model)
            logits = cache.read(model, ids)
            counts = None if config.is_plain else count(ids, logits.size)
            rows.append(_Row(index, config, draw(logits, config, 0, counts), logits, counts))
            layers = _joined(layers, [_batched(layer) for layer in cache.layers])
        if not rows:
            return
        kept: list[int] = []
        for place, row in enumerate(rows):
            if row.take():
                yield row
            else:
                kept.append(place)
        if len(kept) < len(rows):
            rows = [rows[place] for place in kept]
            if not rows:
                layers = []
                continue
            for layer in layers:
                layer.filter(mx.array(kept))
        logits = model(mx.stack([row.token for row in rows])[:, None], cache=layers)[:, -1]
        for place, row in enumerate(rows):
            row.draw(logits[place])
        begin([row.token for row in rows])


def _joined(layers: list[Any], more: list[Any]) -> list[Any]:
    if not layers:
        return more
    for layer, other in zip(layers, more, strict=True):
        layer.extend(other)
    return layers


def _batched(layer: Any) -> Any:
    return layer.merge([layer])
