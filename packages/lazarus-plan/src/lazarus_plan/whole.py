"""Files that appear whole or not at all: written beside their place and renamed into it."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def whole_file(path: Path) -> Generator[IO[bytes]]:
    """A stream whose content takes the place of `path` at the end, or leaves nothing behind.

    Of a link, what it leads to is replaced; a device, such as `/dev/null`, is written to.

    Raises:
        OSError: The system refuses, as on a full disk; its `filename` is `path`.
    """
    with naming(path):
        target = path.resolve()
        if target.exists() and not target.is_file():
            with target.open("wb") as stream:
                yield stream
            return
        beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            with beside.open("wb") as stream:
                yield stream
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Generator[None]:
    """Names `path` in what the system refuses while it is written: a full disk names no file, others a temporary one."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
