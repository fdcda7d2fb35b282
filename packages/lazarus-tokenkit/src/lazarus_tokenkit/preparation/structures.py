"""Things with a form of their own (addresses, identifiers, dates) as one token each, and back.

Each find becomes a marked token and goes into a list; `restore_structures` puts the list back. Finds are made from left to right,
the first pattern of the list that fits wins.
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
"""What is found, by name; the token is `<|name|>`."""


@dataclass(frozen=True)
class Injected:
    """A text with tokens in the place of structures.

    Args:
        text: The text.
        values: What stood at each token, in order.
    """

    text: str
    values: tuple[str, ...]


def structure_tokens(names: Sequence[str] = tuple(PATTERNS)) -> list[str]:
    """The special tokens to train or add."""
    return [f"<|{name}|>" for name in names]


def inject_structures(text: str, names: Sequence[str] = tuple(PATTERNS)) -> Injected:
    """Puts tokens in the place of structures.

    >>> inject_structures("see https://example.org/a, 2024-05-01")
    Injected(text='see <|url|>, <|date|>', values=('https://example.org/a', '2024-05-01'))

    Raises:
        ValueError: The text holds such a token already, so that it could not be restored.
    """
    if taken := [token for token in structure_tokens(names) if token in text]:
        raise ValueError(f"the text holds {taken[0]!r} already; it could not be restored")
    values: list[str] = []

    def replace(found: re.Match[str]) -> str:
        values.append(found[0])
        return f"<|{found.lastgroup}|>"

    if not names:
        return Injected(text, ())
    pattern = "|".join(f"(?P<{name}>{PATTERNS[name]})" for name in names)
    return Injected(re.sub(pattern, replace, text), tuple(values))


def restore_structures(injected: Injected, names: Sequence[str] = tuple(PATTERNS)) -> str:
    """The text as it was.

    >>> restore_structures(inject_structures("mail a@b.org"))
    'mail a@b.org'
    """
    values = iter(injected.values)
    return re.sub("|".join(map(re.escape, structure_tokens(names))), lambda _: next(values), injected.text)
