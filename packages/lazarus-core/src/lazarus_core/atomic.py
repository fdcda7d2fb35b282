"""Files and folders that appear whole or not at all: written beside their place and renamed into it."""

import contextlib
import os
import re
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lazarus_core.leftovers import beside, clear_leftovers, locked, remove

_STREAM = re.compile(r"(?:/dev|/proc/self)/(?:(?P<word>stdout|stderr)|fd/(?P<number>[0-9]+))")
_STREAMS = {"stdout": 1, "stderr": 2}
_MAX_LINKS = 40
"""Links from one name to the next that are followed, as the system does."""


@contextmanager
def whole_file(path: Path) -> Generator[IO[bytes]]:
    """A stream whose content takes the place of `path` at the end, or leaves nothing behind.

    Of a link, what it leads to is replaced; a device, such as `/dev/null`, and an open stream, such as `/dev/stdout`, is
    written to. `outputs.check_output` says whether a file may be replaced.

    Raises:
        OSError: The system refuses, as on a full disk; its `filename` is `path`.
    """
    with naming(path):
        number = stream_number(path)
        target = Path(os.path.realpath(path))
        if number is not None:
            sys.stdout.flush()  # what was printed before comes first
            with os.fdopen(os.dup(number), "wb") as stream:
                yield stream
            return
        if target.exists() and not target.is_file():
            with target.open("wb") as stream:
                yield stream
            return
        clear_leftovers(target)
        written = beside(target)
        try:
            with written.open("xb") as stream, locked(written):
                yield stream
            written.replace(target)
        finally:
            remove(written)


@contextmanager
def whole_folder(path: Path) -> Generator[Path]:
    """A folder to fill, which takes the place of `path` at the end, or leaves nothing behind.

    What was at `path` is removed last; of a link, what it leads to is replaced. Whether it may be replaced is for the
    caller to check.

    Raises:
        OSError: The system refuses, as on a full disk; its `filename` is `path`.
    """
    target = Path(os.path.realpath(path))
    written = beside(target)
    with naming(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(target)
        written.mkdir()
        try:
            with locked(written):
                yield written
                _take_place(written, target)
        finally:
            remove(written)


@contextmanager
def filled_folder(path: Path, last: Sequence[str] = ()) -> Generator[Path]:
    """A folder to fill. Where nothing is at `path` it appears there as a whole; else its files are moved in one by one.

    Args:
        path: The folder; files in it that are not written again stay.
        last: Names of the files that say that the rest is there; they are moved in last, in this order.
    """
    if not path.exists():
        with whole_folder(path) as folder:
            yield folder
        return
    with naming(path):
        inner = path / "files"
        clear_leftovers(inner)
        written = beside(inner)
        written.mkdir()
        try:
            with locked(written):
                yield written
            order = {name: number for number, name in enumerate(last)}
            for file in sorted(written.iterdir(), key=lambda each: (order.get(each.name, -1), each.name)):
                file.replace(path / file.name)
        finally:
            remove(written)


@contextmanager
def naming(path: Path) -> Generator[None]:
    """Names `path` in what the system refuses while it is written: a full disk names no file, others a temporary one."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def stream_number(path: Path) -> int | None:
    """The number of the open stream that a path such as `/dev/stdout` or `/dev/fd/3` names, through links too."""
    for _ in range(_MAX_LINKS):
        if match := _STREAM.fullmatch(os.path.normpath(Path.cwd() / path) if not path.is_absolute() else str(path)):
            return _STREAMS[match["word"]] if match["word"] else int(match["number"])
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None


def _take_place(written: Path, path: Path) -> None:
    """Renames a folder to `path`; what is there moves aside first and is removed last."""
    aside = beside(path, "old")
    remove(aside)
    is_there = os.path.lexists(path) and any(path.iterdir())  # an empty folder is replaced by the rename itself
    if is_there:
        path.rename(aside)
    try:
        written.rename(path)
    except OSError:
        if is_there:
            with contextlib.suppress(OSError):
                aside.rename(path)
        raise
    remove(aside)
