"""What the trainers of tokenizers require of texts and sizes."""

from collections.abc import Iterable, Iterator
from itertools import chain

from lazarus_tokenkit.errors import TokenkitError

MAX_VOCAB_SIZE = 1 << 24
"""Largest vocabulary that is trained: sixty times the largest published ones."""
MAX_FREQUENCY = 1 << 53
"""Largest number of occurrences that a setting may ask for."""


def not_blank(texts: Iterable[str]) -> Iterator[str]:
    """The same texts.

    Args:
        texts: The training texts. They are read up to the first one with a visible character.

    Raises:
        TokenkitError: No text has a visible character, or one text was given instead of several.
    """
    if isinstance(texts, str):
        raise TokenkitError("the training texts are one text: give `texts` as a list", "LT-E280")
    rest, blank = iter(texts), list[str]()
    for text in rest:
        blank.append(text)
        if text.strip():
            return chain(blank, rest)
    raise TokenkitError("the training texts are empty: give `texts` with at least one visible character", "LT-E280")


def check_special_tokens(tokens: tuple[str, ...]) -> None:
    """Checks that special tokens can be told apart and stored.

    Raises:
        ValueError: A token is empty, occurs twice or is not UTF-8.
    """
    if len(set(tokens)) != len(tokens) or "" in tokens:
        raise ValueError("special_tokens must be distinct and not empty")
    if any("\ud800" <= letter <= "\udfff" for token in tokens for letter in token):
        raise ValueError("special_tokens must be UTF-8")
