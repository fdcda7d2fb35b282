"""What the model in training answers: greedy, in the words that it is trained with."""

from lazarus_models import GenerationConfig, LoadedModel
from lazarus_models.generation import bounded, generate_tokens
from lazarus_tokenkit import Encoder, Message

MOST_TOKENS = 64
"""Tokens of an answer."""


def answer(lm: LoadedModel, encoder: Encoder, prompt: str, *, is_text: bool) -> str:
    """The likeliest continuation of a prompt.

    Args:
        lm: In training or not; left as it was.
        encoder: What encodes the training data.
        prompt: A user's words, or the beginning of a text.
        is_text: Whether the model is trained on texts, not on conversations.
    """
    tokenizer = encoder.tokenizer
    if is_text:
        bos = [tokenizer.bos_id] if tokenizer.bos_id is not None and tokenizer.adds_bos else []
        ids = [*bos, *tokenizer.encode(prompt)]
    else:
        ids = encoder.prompt([Message("user", prompt)])
    was_training = lm.model.training
    lm.model.eval()
    try:
        config = bounded(lm, ids, GenerationConfig(max_new_tokens=MOST_TOKENS))
        return tokenizer.decode(list(generate_tokens(lm.model, ids, config)), skip_special=True)
    finally:
        lm.model.train(was_training)
