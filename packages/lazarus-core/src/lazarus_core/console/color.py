"""Colour of what commands print: whether a stream takes it, and the few styles that are used.

`NO_COLOR` switches colour off and `FORCE_COLOR` on; the first wins. Otherwise a terminal has colour and a file or pipe has
none. The rules are those of Python's own tools.
"""

import os
import re
from typing import Any, Literal

Style = Literal["bold", "name", "error", "warning"]
_CODES: dict[Style, str] = {"bold": "1", "name": "36", "error": "1;31", "warning": "1;33"}
"""Select Graphic Rendition codes of ECMA-48: bold, cyan, bold red, bold yellow."""
_SEQUENCE = r"\x1b\[[0-9;]*m"


def has_color(stream: Any) -> bool:
    """Whether text for a stream has colour.

    Args:
        stream: Such as `sys.stdout`; None and closed streams have none.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    if os.environ.get("TERM") == "dumb":
        return False
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def styled(text: str, style: Style) -> str:
    r"""A text in a style.

    >>> styled("error:", "error")
    '\x1b[1;31merror:\x1b[0m'

    Args:
        text: One line without control characters.
        style: Its style.
    """
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m"


def plain(text: str) -> str:
    """A text without its styles.

    >>> plain(styled("error:", "error"))
    'error:'
    """
    return re.sub(_SEQUENCE, "", text)
