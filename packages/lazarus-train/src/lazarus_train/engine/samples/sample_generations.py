"""Sampled answers of the model in training: greedy decoding, with the training data's template."""

from lazarus_models import GenerationConfig, LoadedModel
from lazarus_models.errors import GenerationError
from lazarus_models.generation import bounded, generate_tokens
from lazarus_tokenkit import Encoder, Message
from lazarus_train.errors import SetupError

MOST_TOKENS = 64
"""Largest number of tokens of an answer."""
_SHOWN = 40
"""Largest number of characters of a prompt in a message."""


def prepare(lm: LoadedModel, encoder: Encoder, prompt: str, *, is_text: bool) -> tuple[list[int], GenerationConfig]:
    """Prompt ids and generation settings.

    Args:
        lm: The model.
        encoder: Encoder of the training data.
        prompt: A user message, or the beginning of a text.
        is_text: Whether the model is trained on texts instead of conversations.

    Raises:
        SetupError: The prompt cannot be encoded for this model.
    """
    tokenizer = encoder.tokenizer
    if is_text:
        bos = [tokenizer.bos_id] if tokenizer.bos_id is not None and tokenizer.adds_bos else []
        ids = [*bos, *tokenizer.encode(prompt)]
    else:
        ids = encoder.prompt([Message("user", prompt)])
    try:
        return ids, bounded(lm, ids, GenerationConfig(max_new_tokens=MOST_TOKENS))
    except GenerationError as error:
        shown = prompt if len(prompt) <= _SHOWN else f"{prompt[:_SHOWN]}.."
        raise SetupError(f"`sample_prompts` {shown!r}: {error.message}", "LR-E118") from error


def answer(lm: LoadedModel, encoder: Encoder, prompt: str, *, is_text: bool) -> str:
    """The greedy continuation of a prompt. The model's mode is restored afterwards.

    Args:
        lm: The model.
        encoder: Encoder of the training data.
        prompt: A user message, or the beginning of a text.
        is_text: Whether the model is trained on texts instead of conversations.
    """
    ids, config = prepare(lm, encoder, prompt, is_text=is_text)
    was_training = lm.model.training
    lm.model.eval()
    try:
        return encoder.tokenizer.decode(list(generate_tokens(lm.model, ids, config)), skip_special=True)
    finally:
        lm.model.train(was_training)
