r"""Text of users as a terminal, a log or a page may show it: control characters are shown, not sent.

Data, names, ids, templates and paths may hold escape sequences, which retitle a terminal, hide text or forge lines.
Every output of a command passes through here. An escaped character has the form `\u001b`, which is also its form in
JSON: an escaped JSON text is the same value.
"""

import re

VALUE_CHARS = 100
"""Characters of one quoted value that a message shows."""
LINE_CHARS = 4000
"""Characters of one message; beyond them its middle is left out."""

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
    r"""A text of any number of lines, with its control characters escaped.

    >>> print(printable("a\x1b[2Jb\x7f"))
    a\u001b[2Jb\u007f
    """
    return _CONTROLS.sub(_escape, text)


def printable_line(text: str) -> str:
    r"""A message in one line: line breaks are escaped too, quoted values are cut, its length has a bound.

    >>> print(printable_line("id 'a\nb' stands twice"))
    id 'a\u000ab' stands twice
    >>> print(printable_line(f"id {'x' * 5000!r} stands twice"))  # doctest: +ELLIPSIS
    id 'xxx...xxx'... (5,000 characters) stands twice
    """
    line = _LINE_BREAKS.sub(_escape, printable(_QUOTED.sub(_cut, text)))
    if len(line) <= LINE_CHARS:
        return line
    half = LINE_CHARS // 2
    return f"{line[:half]} ... ({len(line) - 2 * half:,} characters left out) ... {line[-half:]}"


def utf8_name(name: str) -> str:
    r"""The name of a file as texts and documents hold it: bytes that are no UTF-8 are escaped.

    >>> print(utf8_name(b"a\xff.jsonl".decode("utf-8", "surrogateescape")))
    a\xff.jsonl
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _cut(found: re.Match[str]) -> str:
    mark, value = found[0][0], found[0][1:-1]
    if len(value) <= VALUE_CHARS:
        return found[0]
    return f"{mark}{value[:VALUE_CHARS]}{mark}... ({len(value):,} characters)"
