"""Answers of a masked-diffusion model as text: lengths, the mask token, and where an answer ends."""

import time
from collections.abc import Callable, Sequence

from lazarus_models.errors import GenerationError
from lazarus_models.generation.autoregressive import Generation, answer, prompt_ids
from lazarus_models.generation.diffusion import DiffusionConfig, diffuse
from lazarus_models.generation.sampling import GenerationConfig
from lazarus_models.generation.steps import Recorded
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.vocabulary import check_ids
from lazarus_tokenkit import Message

LENGTH = "LM-E251"
MASK_KEY = "mask_token_id"
"""Key of `config.json` with the mask token, as in published diffusion models."""


def answer_length(lm: LoadedModel, prompt: str | Sequence[Message], total_length: int, *, raw: bool = False) -> int:
    """Tokens of an answer that, with its prompt, has `total_length` tokens.

    Args:
        lm: The model; its tokenizer and chat template are used.
        prompt: A user's message, or a conversation.
        total_length: Tokens of prompt and answer.
        raw: Encode a text without a chat template.

    Raises:
        GenerationError: The prompt leaves no token for the answer.
    """
    size = len(prompt_ids(lm, prompt, raw=raw))
    if size >= total_length:
        raise GenerationError(
            f"the prompt has {size} tokens and leaves none of `total_length` {total_length} for the answer; "
            f"give at least {size + 1}",
            LENGTH,
        )
    return total_length - size


def mask_token(lm: LoadedModel, given: str | None = None) -> int:
    """The id of the mask token.

    Args:
        lm: The model.
        given: Id or text of the token; None for `mask_token_id` of the model's `config.json`.

    Raises:
        GenerationError: The text is no token, or the model's config names no mask token.
    """
    if given is None:
        found = lm.config.raw.get(MASK_KEY)
        if type(found) is not int:
            raise GenerationError(
                f"the model's config.json has no `{MASK_KEY}`; give `mask_token`, the one that the model was trained with",
                "LM-E252",
            )
    elif given.isascii() and given.isdecimal() and len(given) < 10:
        found = int(given)
    else:
        found = lm.tokenizer.special_tokens.get(given, lm.tokenizer.vocab.get(given))
        if found is None:
            raise GenerationError(f"`mask_token` {given[:60]!r} is no token of the model; give its id", "LM-E252")
    check_ids([found], lm.config.vocab_size, "`mask_token`", "LM-E252")
    return found


def generate_diffusion(
    lm: LoadedModel,
    prompt: str | Sequence[Message],
    config: DiffusionConfig,
    *,
    raw: bool = False,
    stop: Sequence[str] = (),
    on_text: Callable[[str], object] = str,
) -> Generation:
    """Answers a prompt with a masked-diffusion model. The answer ends at its first stop token, which its length includes.

    Args:
        lm: A model with attention layers only, trained with masks.
        prompt: A user's message, or a conversation; see `prompt_ids`.
        config: Settings; `length` is the number of tokens that are computed.
        raw: Continue a text without a chat template.
        stop: Texts that end the answer and are not part of it.
        on_text: Called with each piece of the text, once all of it is computed.

    Raises:
        GenerationError: Prompt and answer are longer than the model's context, or an id is outside the vocabulary.
        UnsupportedModel: The model has layers with a state.
    """
    ids = prompt_ids(lm, prompt, raw=raw)
    context = lm.config.max_position_embeddings
    if context is not None and len(ids) + config.length > context:
        raise GenerationError(
            f"prompt and answer have {len(ids)} + {config.length} tokens, but the model's context is {context}; "
            "shorten the prompt or the answer",
            LENGTH,
        )
    start = time.perf_counter()
    found = diffuse(lm.model, ids, config)
    stops = lm.stop_ids
    end = next((place + 1 for place, token in enumerate(found) if token in stops), len(found))
    own = GenerationConfig(max_new_tokens=end, stop_ids=stops, stop=tuple(stop))
    return answer(lm, ids, own, own, Recorded(iter(found[:end]), found[:end], []), start, on_text)
