"""A small model guesses some tokens ahead and the large one reads the guesses at once, keeping those it agrees with.

A draw depends on seed and position alone, so the text is the one that the large model would have written by itself,
drawn or greedy; only the time differs (arXiv 2211.17192, with agreement instead of a coin).
"""

from collections.abc import Iterator, Sequence
from typing import Any

from lazarus_models.backend import mx
from lazarus_models.cache import PromptCache
from lazarus_models.errors import GenerationError
from lazarus_models.parameters import evaluate
from lazarus_models.sample import Counts, GenerationConfig, count, draw


def speculative_tokens(
    model: Any, draft: Any, prompt_ids: Sequence[int], config: GenerationConfig, *, ahead: int = 4
) -> Iterator[int]:
    """Yields what `generate_tokens` yields for `model`.

    Args:
        model: Decides.
        draft: Guesses; of the same vocabulary.
        prompt_ids: At least one token.
        config: `stop_ids` None means none here.
        ahead: Guesses before the large model looks.

    Raises:
        GenerationError: A model's caches cannot go back: those of windows and states cannot.
    """
    for name, guesser in (("model", model), ("draft", draft)):
        if guesser.config.vocab_size != model.config.vocab_size:
            raise GenerationError(
                f"`draft` has a vocabulary of {guesser.config.vocab_size}, `model` of {model.config.vocab_size}",
                "LM-E147",
            )
        if not all(layer.reach is not None and layer.reach.window is None for layer in guesser.layers):
            raise GenerationError(
                f"`{name}` has layers with a window or a state, which cannot take back a guess; generate without a draft",
                "LM-E147",
            )
    read, guessed = PromptCache.empty(model), PromptCache.empty(draft)
    stop_ids = frozenset(config.stop_ids or ())
    logits = read.read(model, list(prompt_ids))
    guessed.read(draft, list(prompt_ids))
    counts = None if config.is_plain else count(list(prompt_ids), logits.size)
    token = int(draw(logits, config, 0, counts))
    position, behind = 1, [token]
    yield token
    while token not in stop_ids and position < config.max_new_tokens:
        counts = counts and counts.add(mx.array(token))
        guesses = _guess(draft, guessed, behind, config, position, min(ahead, config.max_new_tokens - position), counts)
        verdicts = model(mx.array([[token, *guesses]]), cache=read.layers)[0]
        agreed = 0
        for place in range(len(guesses) + 1):
            if position == config.max_new_tokens or token in stop_ids:
                break
            token = int(draw(verdicts[place], config, position, counts))
            position += 1
            yield token
            if place == len(guesses) or token != guesses[place]:
                break
            agreed += 1
            counts = counts and counts.add(mx.array(token))
        else:
            return
        if agreed == len(guesses):
            behind = [guesses[-1], token] if guesses else [token]  # the draft has not read its own last guess
        else:
            _back(read, len(guesses) - agreed)
            _back(guessed, len(guesses) - 1 - agreed)
            behind = [token]


def _guess(
    draft: Any,
    cache: PromptCache,
    behind: list[int],
    config: GenerationConfig,
    position: int,
    ahead: int,
    counts: Counts | None,
) -> list[int]:
    logits = draft(mx.array([behind]), cache=cache.layers)[0, -1]
    guesses: list[mx.array] = []
    for step in range(ahead):
        guesses.append(draw(logits, config, position + step, counts))
        if step + 1 < ahead:
            counts = counts and counts.add(guesses[-1])
            logits = draft(guesses[-1][None, None], cache=cache.layers)[0, -1]
    evaluate(guesses)
    return [int(guess) for guess in guesses]


def _back(cache: PromptCache, tokens: int) -> None:
    for layer in cache.layers:
        layer.trim(tokens)
