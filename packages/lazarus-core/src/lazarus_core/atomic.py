"""Atomic writes: a file or folder is written under a temporary name and then renamed, so it is never seen half written."""

import contextlib
import errno
import os
import re
import shutil
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lazarus_core.leftovers import beside, clear_leftovers, locked, remove

_STREAM = re.compile(r"(?:/dev|/proc/self)/(?:(?P<word>stdout|stderr)|fd/(?P<number>[0-9]+))")
_STREAMS = {"stdout": 1, "stderr": 2}
_MAX_LINKS = 40
"""Maximum number of symbolic links that are followed, as in the kernel."""


@contextmanager
def whole_file(path: Path) -> Generator[IO[bytes]]:
    """Open a stream whose content replaces `path` when the block ends, and leaves nothing behind when it fails.

    Missing parent folders are created. A link stays; its target is replaced. A device, such as `/dev/null`, or an open stream, such as `/dev/stdout`, is
    written directly. Call `outputs.check_output` first to learn whether a file may be replaced.

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
        written = beside(target)
        with parents_made(target):
            clear_leftovers(target)
            try:
                with written.open("xb") as stream, locked(written):
                    yield stream
                written.replace(target)
            finally:
                remove(written)


@contextmanager
def whole_folder(path: Path, *, is_durable: bool = False) -> Generator[Path]:
    """Create a temporary folder that replaces `path` when the block ends, and leaves nothing behind when it fails.

    The previous content is removed last. A link stays; its target is replaced. The caller checks first whether `path`
    may be replaced.

    Args:
        path: The folder.
        is_durable: Flush every file to the disk before the rename, and the rename itself.

    Raises:
        OSError: The system refuses, as on a full disk. Its `filename` is `path`, or a file elsewhere that the block used.
    """
    target = Path(os.path.realpath(path))
    written = beside(target)
    with naming(path, keep=True), parents_made(target):
        clear_leftovers(target)
        written.mkdir()
        try:
            with locked(written):
                yield written
                if is_durable:
                    for each in (*written.rglob("*"), written):
                        if not each.is_symlink():
                            flush(each)
                take_place(written, target)
                if is_durable:
                    flush(target.parent)
        finally:
            remove(written)


@contextmanager
def filled_folder(path: Path, last: Sequence[str] = ()) -> Generator[Path]:
    """Create a temporary folder and move it to `path`: as a whole if `path` is absent, otherwise file by file.

    Args:
        path: The folder. Other files in it stay.
        last: Names of the files that mark the folder as complete. They are moved last, in this order.
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
def whole_path(path: Path, name: str) -> Generator[Path]:
    """As `whole_file`, for a writer that needs a path with a certain ending.

    Args:
        path: The file that is replaced when the block ends.
        name: Name of the temporary file, in a folder of its own.
    """
    target = Path(os.path.realpath(path))
    folder = beside(target)
    with naming(path), parents_made(target):
        clear_leftovers(target)
        folder.mkdir()
        try:
            with locked(folder):
                yield folder / name
                (folder / name).replace(target)
        finally:
            remove(folder)


@contextmanager
def parents_made(path: Path) -> Generator[None]:
    """Create the missing parent folders of an output. They are removed again if the block fails.

    Args:
        path: The output. Itself, it is not created.
    """
    missing = [each for each in path.parents if not os.path.lexists(each)]
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from error
        yield
    except BaseException:
        for each in missing:  # the innermost first
            with contextlib.suppress(OSError):
                each.rmdir()
        raise


def replace_link(link: Path, target: str) -> None:
    """Let a symbolic link point to another target; it exists at every moment.

    Args:
        link: The link; an existing one is replaced.
        target: What the link contains.
    """
    written = beside(link)
    remove(written)
    written.symlink_to(target)
    written.replace(link)


def remove_folder(path: Path) -> None:
    """Remove a folder. It is renamed first, so a kill leaves it complete or gone."""
    nameless = beside(path)
    remove(nameless)
    path.rename(nameless)
    shutil.rmtree(nameless)


def move(path: Path, to: Path) -> None:
    """Rename a file or folder to a free name on the same disk.

    Args:
        path: The present name.
        to: The new name.

    Raises:
        FileExistsError: `to` exists.
    """
    if os.path.lexists(to):
        raise FileExistsError(errno.EEXIST, "the new name exists", str(to))
    path.rename(to)


def take_place(written: Path, path: Path) -> None:
    """Rename a complete file or folder to `path`. A previous folder is moved aside first and removed last.

    Args:
        written: What was written, on the same disk.
        path: Its name from now on; what it names is replaced.
    """
    if not written.is_dir():
        written.replace(path)
        return
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


def flush(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def naming(path: Path, *, keep: bool = False) -> Generator[None]:
    """Set `path` as the file name of an `OSError`: a full disk names no file, and other errors name a temporary one.

    Args:
        path: The output.
        keep: Keep the names of other files, such as one that is read to be copied.
    """
    try:
        yield
    except OSError as error:
        if not keep or error.filename is None or _names_temporary(str(error.filename)):
            error.filename, error.filename2 = str(path), None
        raise


def stream_number(path: Path) -> int | None:
    """Descriptor of the open stream that a path such as `/dev/stdout` or `/dev/fd/3` names; links are followed."""
    for _ in range(_MAX_LINKS):
        if match := _STREAM.fullmatch(os.path.normpath(Path.cwd() / path) if not path.is_absolute() else str(path)):
            return _STREAMS[match["word"]] if match["word"] else int(match["number"])
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None


def _names_temporary(name: str) -> bool:
    """Whether a part of a path is a name that `beside` makes in this process."""
    return bool(re.search(rf"(^|/)\.[^/]+\.{os.getpid()}\.(tmp|old)(/|$)", name))
