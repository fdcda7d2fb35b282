"""One build of an output at a time. The system releases the lock of a process that was killed."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from lazarus_core.atomic import naming, parents_made
from lazarus_corpus.errors import OutputError


@contextmanager
def locked(output: Path) -> Generator[None]:
    """Holds the lock file `.NAME.lock` beside an output, and removes it at the end.

    Args:
        output: The folder of a corpus.

    Raises:
        OutputError: Another process builds it.
    """
    path = output.parent / f".{output.name}.lock"
    with parents_made(path):
        handle = _open(path, output)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # before the lock is released
            os.close(handle)


def _open(path: Path, output: Path) -> int:
    """Opens and locks the file; again if its last owner removed it before releasing the lock."""
    while True:
        with naming(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise OutputError(
                f"another process builds {output}: wait for it, or give another output", "LD-E148"
            ) from None
        if os.fstat(handle).st_nlink:
            return handle
        os.close(handle)
