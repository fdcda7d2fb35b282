"""Characters and lines. Code and lists keep their indentation and line breaks."""

import re
import unicodedata

_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069]")
"""Soft hyphen, zero-width space, word joiner, byte order mark, direction marks. Joiners of scripts and emoji are kept."""
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_LINE_END = re.compile("\r\n?|[\u2028\u2029\x85\x0c]")
_SPACES = " \t\u00a0"
_EMPTY_LINES = re.compile(r"\n{4,}")


def normal_characters(text: str) -> str:
    r"""Normalization Form C, without control characters and characters that cannot be seen.

    >>> normal_characters("cafe\u0301\u200b\x00")
    'café'
    """
    return unicodedata.normalize("NFC", _CONTROL.sub("", _INVISIBLE.sub("", text)))


def normal_lines(text: str) -> str:
    r"""Lines end with a line feed and without spaces; at most two empty lines follow each other; none at the ends.

    >>> normal_lines("a  \r\n\r\n\n\n\n  b\n")
    'a\n\n\n  b'
    """
    # A regular expression would take the square of the length of a run of spaces inside a line.
    text = "\n".join(line.rstrip(_SPACES) for line in _LINE_END.sub("\n", text).split("\n"))
    return _EMPTY_LINES.sub("\n\n\n", text).strip("\n")
