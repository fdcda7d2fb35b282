"""Prompts as token ids, and texts as single tokens in the context of a prompt."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.errors import RequestError
from lazarus_models import LoadedModel
from lazarus_models.generation import prompt_ids
from lazarus_models.vocabulary import check_ids
from lazarus_tokenkit import Tokenizer


class Token(Frozen):
    """A token that is followed."""

    text: str
    """What was asked for."""
    id: int
    piece: str
    """The token's entry in the vocabulary."""
    num_tokens: int
    """Tokens of the whole text; above 1, `id` is the first."""


@dataclass(frozen=True)
class Prompt:
    """A prompt as the model reads it."""

    lm: LoadedModel
    text: str
    ids: tuple[int, ...]

    @property
    def rows(self) -> list[list[int]]:
        """The ids as a matrix (1, T)."""
        return [list(self.ids)]

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """The text of each token."""
        return tuple(token_text(self.lm, token) for token in self.ids)


def read_prompt(lm: LoadedModel, text: str, *, raw: bool) -> Prompt:
    """Encodes a prompt.

    Args:
        lm: The model.
        text: A text to continue, or a user's message.
        raw: Whether it is a text to continue, without a chat template.

    Raises:
        RequestError: The prompt has no tokens.
        GenerationError: The tokenizer does not fit the model.
    """
    ids = tuple(prompt_ids(lm, text, raw=raw))
    if not ids:
        raise RequestError("the prompt has no tokens; give a text", "LI-E141")
    check_ids(ids, lm.config.vocab_size, "the prompt")
    return Prompt(lm, text, ids)


def token_text(lm: LoadedModel, token: int) -> str:
    """The text of one token, as it stands within a text.

    Args:
        lm: The model.
        token: Its id; for rows of the embedding without a token, `[id]`.
    """
    return id_text(lm.tokenizer, token)


def id_text(tokenizer: Tokenizer, token: int) -> str:
    """The same from the tokenizer alone.

    Args:
        tokenizer: The tokenizer.
        token: The id.
    """
    if token >= tokenizer.vocab_size:
        return f"[{token}]"
    written = tokenizer.token_bytes.get(token)
    return tokenizer.decode([token]) if written is None else written.decode("utf-8", errors="replace")


def resolve_token(lm: LoadedModel, text: str, *, multi_token: Literal["error", "first"] = "error") -> Token:
    """The token of a text that continues a prompt: `" Paris"` after `"The capital is"`.

    Args:
        lm: The model.
        text: The text, with its leading space if it has one.
        multi_token: What a text of several tokens is.

    Raises:
        RequestError: The text has no token, or several.
    """
    tokenizer = lm.tokenizer
    ids = (tokenizer.continuation or tokenizer).encode(text)
    pieces = {token: piece for piece, token in tokenizer.vocab.items()}
    if not ids:
        raise RequestError(f"the text {text!r} has no token; give at least one character", "LI-E142")
    check_ids(ids, lm.config.vocab_size, f"the text {text!r}")
    if len(ids) > 1 and multi_token == "error":
        shown = ", ".join(f"`{pieces.get(token, token_text(lm, token))}`" for token in ids[:8])
        raise RequestError(
            f"the text {text!r} has {len(ids)} tokens, {shown}; give one of them, or follow the first "
            "(`multi_token` first)",
            "LI-E142",
        )
    return Token(text=text, id=ids[0], piece=pieces.get(ids[0], token_text(lm, ids[0])), num_tokens=len(ids))
