"""Files that take the place of others: only of their like, so that a slip of the keyboard costs nobody's data."""

import re
from pathlib import Path

from lazarus_tokenkit.errors import TokenkitError

LENGTHS = re.compile(rb'\{"lazarus_lengths":')
FINGERPRINT = re.compile(rb'\s*\{\s*"version":')
PAGE = re.compile(rb"<!doctype html>", re.IGNORECASE)
HEAD_BYTES = 64
"""More than any of these takes."""


def refuse_to_replace(path: Path, like: re.Pattern[bytes], what: str) -> None:
    """Refuses a file that is there, is not empty and does not begin as `like`.

    Args:
        path: Where something is to be written; not there, a device or a directory is not this function's business.
        like: How files of that kind begin.
        what: Their name, for the message.

    Raises:
        TokenkitError: It is another kind of file.
    """
    if not path.is_file():
        return
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    if head and not like.match(head):
        raise TokenkitError(f"{path} is there and is no {what}: name another file, or remove it first", "LT-E503")
