"""Speculative decoding: a draft model proposes tokens, and the model checks them in one forward pass.

A draw depends on seed and position only, so a proposal is accepted if the model draws the same token. The text is therefore the
model's own text, sampled or greedy; only the time differs (arXiv 2211.17192, with equality instead of rejection sampling).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lazarus_models.backend import mx
from lazarus_models.errors import GenerationError
from lazarus_models.generation.autoregressive import Generation, answer, bounded, prompt_ids
from lazarus_models.generation.prompt_cache import PromptCache
from lazarus_models.generation.sampling import Counts, GenerationConfig, count, draw
from lazarus_models.generation.steps import Step, check_request, recorded
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.trees import evaluate
from lazarus_tokenkit import Message

AHEAD = 4
"""Default number of proposed tokens a step; more cost more time when they are rejected."""


def generate_with_draft(
    lm: LoadedModel,
    draft: LoadedModel,
    prompt: str | Sequence[Message],
    config: GenerationConfig = GenerationConfig(),  # noqa: B008 (frozen)
    *,
    raw: bool = False,
    ahead: int = AHEAD,
    on_text: Callable[[str], object] = str,
) -> Generation:
    """Answers a prompt with the same tokens as `generate`, faster, with a draft model.

    Args:
        lm: The model.
        draft: A smaller model with the same vocabulary.
        prompt: A user's message, or a conversation.
        config: Generation settings.
        raw: Continue a text without a chat template.
        ahead: Proposed tokens a step, at least 1.
        on_text: Called with each new piece of text, in whole characters.

    Raises:
        GenerationError: See `generate`; or the vocabularies differ, or a model has layers with a window or a state.
    """
    ids = prompt_ids(lm, prompt, raw=raw)
    own = bounded(lm, ids, config)
    start = time.perf_counter()
    steps = speculative_steps(lm.model, draft.model, ids, own, ahead=ahead)
    return answer(lm, ids, config, own, recorded(steps, own), start, on_text)


def speculative_tokens(
    model: Any, draft: Any, prompt_ids: Sequence[int], config: GenerationConfig, *, ahead: int = AHEAD
) -> Iterator[int]:
    """Yields the tokens of `generate_tokens(model, ...)`; see `speculative_steps`.

    Args:
        model: The model, a `Decoder`.
        draft: The draft model, a `Decoder` with the same vocabulary.
        prompt_ids: Token ids of the prompt, at least one.
        config: Generation settings; `stop_ids` None means no stop ids.
        ahead: Proposed tokens a step, at least 1.
    """
    return (step.id for step in speculative_steps(model, draft, prompt_ids, config, ahead=ahead))


def speculative_steps(
    model: Any, draft: Any, prompt_ids: Sequence[int], config: GenerationConfig, *, ahead: int = AHEAD
) -> Iterator[Step]:
    """Yields new tokens with the logits of `model` from which they were drawn.

    Args:
        model: The model, a `Decoder`.
        draft: The draft model, a `Decoder` with the same vocabulary.
        prompt_ids: Token ids of the prompt, at least one.
        config: Generation settings; `stop_ids` None means no stop ids.
        ahead: Proposed tokens a step, at least 1.

    Raises:
        GenerationError: The vocabularies differ, or a model has layers with a window or a state, which cannot be trimmed.
    """
    _check_models(model, draft)
    check_request(model, prompt_ids, config)
    read, guessed = PromptCache.empty(model), PromptCache.empty(draft)
    stop_ids = frozenset(config.stop_ids or ())
    logits = read.read(model, list(prompt_ids))
    guessed.read(draft, list(prompt_ids))
    counts = None if config.is_plain else count(list(prompt_ids), logits.size)
    token = int(draw(logits, config, 0, counts))
    position, behind = 1, [token]
    yield Step(token, logits)
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
            yield Step(token, verdicts[place])
            if place == len(guesses) or token != guesses[place]:
                break
            agreed += 1
            counts = counts and counts.add(mx.array(token))
        else:
            return
        if agreed == len(guesses):
            behind = [guesses[-1], token] if guesses else [token]  # the draft has not read its own last proposal
        else:
            _back(read, len(guesses) - agreed)
            _back(guessed, len(guesses) - 1 - agreed)
            behind = [token]


def _check_models(model: Any, draft: Any) -> None:
    for name, each in (("model", model), ("draft", draft)):
        if each.config.vocab_size != model.config.vocab_size:
            raise GenerationError(
                f"`draft` has a vocabulary of {each.config.vocab_size}, `model` of {model.config.vocab_size}",
                "LM-E147",
            )
        if not all(layer.reach is not None and layer.reach.window is None for layer in each.layers):
            raise GenerationError(
                f"`{name}` has layers with a window or a state, which cannot undo a rejected token; generate without a draft",
                "LM-E147",
            )


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
