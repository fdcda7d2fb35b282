"""The line of every key of a TOML text. `tomllib` decides whether the text is TOML; this only finds places for messages."""

import re
from collections.abc import Mapping

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_KEY})\s*\]")
_ASSIGNMENT = re.compile(rf"\s*({_KEY})\s*=")
_TOKEN = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"""'
    + r"|'''(?:[^']|'(?!''))*'''"
    + r'|"(?:[^"\\\n]|\\.)*"'
    + r"|'[^'\n]*'|#[^\n]*|[\[\]{}\n]",
    re.DOTALL,
)


def key_lines(text: str) -> Mapping[tuple[str, ...], int]:
    r"""The 1-based line where each key of a TOML text is assigned, and each table begins.

    >>> dict(key_lines("a = 1\n[b.c]\nd.e = [\n1]\n"))
    {('a',): 1, ('b', 'c'): 2, ('b', 'c', 'd', 'e'): 3}
    """
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, start in _statements(text):
        if header := _HEADER.match(text, start):
            table = _names(header[1])
            found.setdefault(table, number)
        elif assignment := _ASSIGNMENT.match(text, start):
            found.setdefault((*table, *_names(assignment[1])), number)
    return found


def _statements(text: str) -> list[tuple[int, int]]:
    """Line and offset of the beginning of each line that is not inside a string, a list or an inline table."""
    found = [(1, 0)]
    depth, line, at = 0, 1, 0
    for token in _TOKEN.finditer(text):
        line += text.count("\n", at, token.start())
        at = token.start()
        match token[0]:
            case "[" | "{":
                depth += 1
            case "]" | "}":
                depth -= 1
            case "\n":
                if depth == 0:
                    found.append((line + 1, token.end()))
            case _:
                pass
    return found


def _names(key: str) -> tuple[str, ...]:
    """The parts of a dotted key; escapes of quoted parts stay as they are written."""
    return tuple(part.strip("\"'") for part in re.findall(_PART, key))
