r"""Escape control characters in untrusted text before it reaches a terminal, a log or a page.

Data, names, ids, templates and paths may contain escape sequences that retitle a terminal, hide text or forge lines.
Every output of a command passes through this module. An escaped character has the form `\u001b`, as in JSON, so an
escaped JSON text has the same value.
"""

import os
import re
from collections.abc import Iterable

VALUE_CHARS = 100
"""Maximum characters of one quoted value in a message."""
LINE_CHARS = 4000
"""Maximum characters of one message. Longer ones lose their middle."""

LISTED = 20
"""Maximum number of values that a message lists."""

_CONTROLS = re.compile(
    # C0 but for tab, line feed, and a carriage return before a line feed; DEL and C1; line and paragraph separator;
    # marks, embeddings, overrides and isolates of direction (UAX 9), which reorder what is shown
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|\r(?!\n)"
)
_LINE_BREAKS = re.compile("[\r\n]")
_QUOTED = re.compile(
    # a value as `repr` or backticks write it: an apostrophe within a word opens none
    "|".join(rf"(?<![\w'\"`]){mark}(?:[^{mark}\\\n]++|\\.)*+{mark}(?!\w)" for mark in "'\"`")
)


def printable(text: str) -> str:
    r"""A text with its control characters escaped; line breaks and tabs stay.

    >>> print(printable("a\x1b[2Jb\x7f"))
    a\u001b[2Jb\u007f
    """
    return _CONTROLS.sub(_escape, text)


def printable_line(text: str) -> str:
    r"""A message as one line of bounded length: line breaks are escaped, and long quoted values are shortened.

    >>> print(printable_line("id 'a\nb' occurs twice"))
    id 'a\u000ab' occurs twice
    >>> print(printable_line(f"id {'x' * 5000!r} occurs twice"))  # doctest: +ELLIPSIS
    id 'xxx...xxx'... (5,000 characters) occurs twice
    """
    line = _LINE_BREAKS.sub(_escape, printable(_QUOTED.sub(_cut, text)))
    if len(line) <= LINE_CHARS:
        return line
    half = LINE_CHARS // 2
    return f"{line[:half]} ... ({len(line) - 2 * half:,} characters left out) ... {line[-half:]}"


def listed(values: Iterable[object], shown: int = LISTED) -> str:
    """Values as words of a message.

    >>> listed([1, 2]), listed("abcd", 2), listed([])
    ('1, 2', 'a, b and 2 more', 'none')

    Args:
        values: The values, in the order in which they are shown.
        shown: Largest number of values that are shown.
    """
    words = [str(value) for value in values]
    more = f" and {len(words) - shown:,} more" if len(words) > shown else ""
    return ", ".join(words[:shown]) + more if words else "none"


def name_as_utf8(name: str) -> str:
    """A file name with its bytes decoded as UTF-8 in every locale. Bytes that are not UTF-8 stay surrogates."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def utf8_name(name: str) -> str:
    r"""A file name for texts and documents: its bytes decoded as UTF-8 in every locale, with other bytes escaped.

    >>> print(utf8_name(b"a\xff.jsonl".decode("utf-8", "surrogateescape")))
    a\xff.jsonl
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _cut(found: re.Match[str]) -> str:
    mark, value = found[0][0], found[0][1:-1]
    if len(value) <= VALUE_CHARS:
        return found[0]
    return f"{mark}{value[:VALUE_CHARS]}{mark}... ({len(value):,} characters)"
