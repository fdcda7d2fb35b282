"""Replaces addresses, identifiers, dates and other structures by one token each, and restores them.

The original texts are kept in a list, which `restore_structures` uses. Texts are searched from left to right; the first
pattern that matches is used.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PATTERNS: Mapping[str, str] = {
    "url": r"https?://[^\s<>\"')\]]+[^\s<>\"')\].,;:!?]",
    "email": r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "uuid": r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b",
    "ip": r"\b(?:\d{1,3}\.){3}\d{1,3}\b",
    "date": r"\b\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:?\d{2})?)?\b",
    "path": r"(?<![\w.])(?:/[\w.-]+){2,}",
    "hex": r"\b0x[0-9a-fA-F]+\b",
}
"""Name to regular expression. The token of a structure is `<|name|>`."""


@dataclass(frozen=True)
class Injected:
    """A text whose structures are replaced by tokens.

    Args:
        text: The text with tokens.
        values: The original text of each token, in order.
    """

    text: str
    values: tuple[str, ...]


def structure_tokens(names: Sequence[str] = tuple(PATTERNS)) -> list[str]:
    """Returns the special tokens of structures, to be trained or added."""
    return [f"<|{name}|>" for name in names]


def inject_structures(text: str, names: Sequence[str] = tuple(PATTERNS)) -> Injected:
    """Replaces the structures of a text by tokens.

    >>> inject_structures("see https://example.org/a, 2024-05-01")
    Injected(text='see <|url|>, <|date|>', values=('https://example.org/a', '2024-05-01'))

    Args:
        text: Any text without the tokens of the structures.
        names: Names of the structures, keys of `PATTERNS`.

    Raises:
        ValueError: The text already contains such a token, so it could not be restored.
    """
    if taken := [token for token in structure_tokens(names) if token in text]:
        raise ValueError(f"the text already contains {taken[0]!r}, so it could not be restored; remove it")
    values: list[str] = []

    def replace(found: re.Match[str]) -> str:
        values.append(found[0])
        return f"<|{found.lastgroup}|>"

    if not names:
        return Injected(text, ())
    pattern = "|".join(f"(?P<{name}>{PATTERNS[name]})" for name in names)
    return Injected(re.sub(pattern, replace, text), tuple(values))


def restore_structures(injected: Injected, names: Sequence[str] = tuple(PATTERNS)) -> str:
    """Restores the original text.

    >>> restore_structures(inject_structures("mail a@b.org"))
    'mail a@b.org'

    Args:
        injected: The text with tokens and the original texts.
        names: The same names as for `inject_structures`.
    """
    values = iter(injected.values)
    return re.sub("|".join(map(re.escape, structure_tokens(names))), lambda _: next(values), injected.text)
