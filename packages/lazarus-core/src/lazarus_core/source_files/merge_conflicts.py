"""Recognise merge-conflict markers and Git LFS pointers in files."""

import re
from pathlib import Path

from lazarus_core.bounded import open_file

_MARKER = re.compile(rb"^(?:<{7}|\|{7}|>{7})(?: |\r?$)", re.MULTILINE)
"""The lines that git writes around both sides. A line of `=======` alone does not count: it may underline a title."""
_LFS = b"version https://git-lfs.github.com/spec/v1"
BLOCK_BYTES = 1 << 20
"""Bytes read at a time."""
HEAD_BYTES = 1 << 10
"""Enough of a file to see whether it is a Git LFS pointer."""


def has_markers(content: bytes) -> bool:
    r"""Whether a text contains merge-conflict markers.

    >>> has_markers(b"<<<<<<< ours\n1\n=======\n2\n>>>>>>> theirs\n"), has_markers(b"1 <<<<<<< 2\n")
    (True, False)
    """
    return _MARKER.search(content) is not None


def is_lfs_pointer(content: bytes) -> bool:
    """Whether a file holds a Git LFS pointer instead of its content."""
    return content.startswith(_LFS)


def find_marker(path: Path) -> int | None:
    """The 1-based line number of the first conflict marker in a file, or None. Lines may have any length."""
    number, is_start = 1, True
    with open_file(path) as stream:
        while piece := stream.readline(BLOCK_BYTES):
            if is_start and _MARKER.match(piece):
                return number
            is_start = piece.endswith(b"\n")
            number += is_start
    return None
