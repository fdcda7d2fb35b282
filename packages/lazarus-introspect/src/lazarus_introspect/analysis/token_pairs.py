"""The two tokens of a logit difference: named ones, or what the model predicts."""

import numpy as np

from lazarus_introspect.analysis.tokens import Prompt, Token, resolve_token, token_text
from lazarus_introspect.errors import RequestError
from lazarus_introspect.hooks import run_with_hooks
from lazarus_introspect.metrics import numbers
from lazarus_models import LoadedModel


def token_pair(prompt: Prompt, positive: str | None, negative: str | None, place: int) -> tuple[Token, Token]:
    """Two tokens of one prompt.

    Args:
        prompt: The prompt.
        positive: Text of the first; None for the prediction.
        negative: Text of the second; None for the most probable token that is not the first.
        place: Position whose prediction counts.

    Raises:
        RequestError: A text is not one token, or both are the same.
    """
    order = _ordered(prompt, place)
    first = _predicted(prompt.lm, order[0]) if positive is None else resolve_token(prompt.lm, positive)
    second = _other(prompt, order, first) if negative is None else resolve_token(prompt.lm, negative)
    return _different(first, second)


def token_of_each(clean: Prompt, corrupt: Prompt, positive: str | None, negative: str | None) -> tuple[Token, Token]:
    """A token of each of two prompts, at their last positions.

    Args:
        clean: Prompt of the first token.
        corrupt: Prompt of the second token.
        positive: Text of the first; None for the prediction of `clean`.
        negative: Text of the second; None for the most probable token of `corrupt` that is not the first.

    Raises:
        RequestError: A text is not one token, or both are the same.
    """
    if positive is None:
        first = _predicted(clean.lm, _ordered(clean, len(clean.ids) - 1)[0])
    else:
        first = resolve_token(clean.lm, positive)
    if negative is None:
        second = _other(corrupt, _ordered(corrupt, len(corrupt.ids) - 1), first)
    else:
        second = resolve_token(corrupt.lm, negative)
    return _different(first, second)


def _ordered(prompt: Prompt, place: int) -> list[int]:
    """Token ids by descending logit."""
    return np.argsort(-numbers(run_with_hooks(prompt.lm, prompt.rows)[0, place]), kind="stable").tolist()


def _other(prompt: Prompt, order: list[int], first: Token) -> Token:
    return _predicted(prompt.lm, next(token for token in order if token != first.id))


def _predicted(lm: LoadedModel, token: int) -> Token:
    pieces = {own: piece for piece, own in lm.tokenizer.vocab.items()}
    text = token_text(lm, token)
    return Token(text=text, id=token, piece=pieces.get(token, text), num_tokens=1)


def _different(first: Token, second: Token) -> tuple[Token, Token]:
    if first.id == second.id:
        raise RequestError(f"both tokens are {first.text!r}; name two different ones", "LI-E143")
    return first, second
