"""Errors of the operating system as lines for people: what is wrong and the way out."""

import errno
import re
from pathlib import Path

from lazarus_core.printable import utf8_name


def refusal(error: Exception) -> str | None:
    """Message for an error of the operating system that the user can mend, or None for any other exception.

    Covered: disk, permissions, memory, limits of processes and files, file names in other encodings.
    """
    text = str(error)
    match error:
        case OSError(filename=None, errno=errno.ENOENT) if not _has_current_folder():
            return "the current directory does not exist any more: change to another"
        case OSError():
            return system_words(error)
        case MemoryError():
            return (
                f"not enough memory{f': {text}' if text else ''}; close other programs, or raise the limit (ulimit -v)"
            )
        case ImportError() if any(words in text for words in _NO_ROOM):
            return f"not enough memory or files to load a library: {text}; raise the limit (ulimit -v, ulimit -n)"
        case RuntimeError() if any(words in text for words in _NO_ROOM):
            return f"not enough memory, threads or disk: {text}"
        case UnicodeEncodeError() if found := _NOT_UTF8.search(error.object):
            return f"a name is not UTF-8: `{utf8_name(found[0])}`; rename the file"
        case _:
            return None


def system_words(error: OSError) -> str:
    """An error of the operating system as a line: the file, what is wrong, the way out.

    >>> system_words(FileNotFoundError(errno.ENOENT, "No such file or directory", "rows.jsonl"))
    'rows.jsonl does not exist: correct the path'
    """
    name = str(error.filename or "")
    if error.errno == errno.EEXIST and name:
        return f"{_as_given(name)} is a file: choose a path that does not lie below it"
    words = _SYSTEM_WORDS.get(error.errno or 0)
    if words is None or not name:
        return f"{_as_given(name)}: {error.strerror or error}" if name else f"{error.strerror or error}"
    return f"{_as_given(name)}{words}"


def _as_given(name: str) -> str:
    """A path below the current folder without that folder's name, as people write it."""
    try:
        return str(Path(name).relative_to(Path.cwd())) if Path(name).is_absolute() else name
    except (ValueError, OSError):
        return name


_SYSTEM_WORDS = {
    errno.ENOENT: " does not exist: correct the path",
    errno.ENOTDIR: ": a part of the path is a file, not a folder: correct the path",
    errno.EISDIR: " is a folder: give the name of a file",
    errno.ENAMETOOLONG: ": the name is too long: choose a shorter one",
    errno.EACCES: ": permission denied: change its permissions, or choose another path",
    errno.EPERM: ": permission denied: change its permissions, or choose another path",
    errno.EROFS: ": the file system can only be read: choose another path",
    errno.ENOSPC: ": no space left on the device: delete something, or choose another path",
    errno.EDQUOT: ": the disk quota is used up: delete something, or choose another path",
}
"""Words for numbers of errors of files, which follow the name of the file."""


_NOT_UTF8 = re.compile(r"[^\s\"'/]*[\udc80-\udcff][^\s\"'/]*")
"""A part of a path with bytes that are not UTF-8 (surrogates)."""
_NO_ROOM = (
    "failed to map segment",  # the dynamic loader
    "annot allocate memory",
    "Too many open files",
    "can't start new thread",
    "nable to allocate",  # MLX
    "bad_alloc",
    "Resource temporarily unavailable",
    "No space left",
)
"""Texts of resource errors in libraries that raise neither MemoryError nor OSError."""


def system_code(error: Exception) -> str:
    """Code of an error that `refusal` has a message for."""
    is_missing = isinstance(error, FileNotFoundError) and error.filename
    return "LP-E220" if is_missing else "LP-E221" if isinstance(error, OSError | UnicodeError) else "LP-E222"


def _has_current_folder() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True
