"""An unfinished copy beside its final name: `.NAME.lazarus-part`. A killed command leaves it, and the next one continues.

Nothing appears under the final name before the copy is complete, flushed to the disk and verified.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from lazarus_cli.operations.errors import CopyDiffers, OperationError
from lazarus_cli.operations.file_list import CHUNK, LIST, PART, FileList, Listed, check_files, hash_file
from lazarus_core.atomic import flush, naming, parents_made, take_place
from lazarus_core.leftovers import beside, clear_leftovers, remove
from lazarus_core.outputs import check_folder

OnBytes = Callable[[int], object]
RESERVE = 16 << 20
"""Bytes that stay free on the disk."""


def part_of(path: Path) -> Path:
    """Where an unfinished copy of an output is."""
    return path.with_name(f".{path.name}{PART}")


@contextmanager
def unfinished_folder(path: Path, listed: FileList, *, replaces: bool = False) -> Generator[Path]:
    """Context manager: the unfinished copy of a folder, which is verified and takes its name when the block ends.

    Args:
        path: The output.
        listed: Files that it will have. Others that an earlier command left in the unfinished copy are removed.
        replaces: Whether a copy with a list of files, from an earlier command, is replaced.

    Raises:
        OutputTaken: `path` exists.
        OperationError: Another process writes it, or the disk has too little space.
        CopyDiffers: The copy is not equal to the list. Nothing was put in place.
    """
    target, part = Path(os.path.realpath(path)), part_of(Path(os.path.realpath(path)))
    clear_leftovers(target)
    if not (replaces and (target / LIST).is_file()):
        check_folder(path, "the copy", code="LC-E273")
    with naming(path, keep=True), parents_made(part):
        part.mkdir(exist_ok=True)
        with alone(part, path):
            _drop_others(part, listed)
            check_space(part, listed.total_bytes)
            yield part
            check_files(part, listed)
            for folder, _, _ in os.walk(part, topdown=False):
                flush(Path(folder))
            take_place(part, target)
            flush(target.parent)


def is_restored(path: Path, listed: FileList, on_bytes: OnBytes = lambda _: None) -> bool:
    """Whether a folder has exactly the listed files, as after a command that was killed when all was in place.

    Args:
        path: The output of a command that restores.
        listed: Files that it should have. They are read only if every size is right.
        on_bytes: Called with the number of bytes that were read since the last call.
    """
    # What is missing or differs; a file that cannot be read is an error of its own.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, OperationError):
        is_candidate = path.is_dir() and not (path / LIST).exists()
        if is_candidate and all((path / name).lstat().st_size == each.bytes for name, each in listed.files.items()):
            check_files(path, listed, on_bytes)
            return True
    return False


def check_space(part: Path, needed: int) -> None:
    """Checks that a disk has room for a copy, before anything is written.

    Args:
        part: The unfinished copy; what it has is part of the copy.
        needed: Bytes of the whole copy.

    Raises:
        OperationError: There is too little room.
    """
    there = sum(file.lstat().st_size for file in part.rglob("*") if file.is_file()) if part.is_dir() else 0
    free = shutil.disk_usage(part if part.exists() else part.parent).free
    if needed - there > free - RESERVE:
        raise OperationError(
            f"{part.parent}: the copy needs {needed / 2**20:,.0f} MiB, {free / 2**20:,.0f} MiB are free: make room, or "
            "choose another disk",
            "LC-E274",
        )


def is_there(file: Path, listed: Listed) -> bool:
    """Whether an earlier command wrote a file completely.

    Args:
        file: Where it would be.
        listed: Its size and digest.
    """
    with contextlib.suppress(OSError):
        if not file.is_symlink() and file.is_file() and file.stat().st_size == listed.bytes:
            return hash_file(file)[0] == listed.sha256
    return False


def write_file(file: Path, listed: Listed, read: Callable[[int], bytes], on_bytes: OnBytes, name: str) -> None:
    """Writes a file of an unfinished copy, and compares it with its digest.

    Args:
        file: Where to.
        listed: Its size and digest.
        read: Gives at most so many bytes of its content; none at its end.
        on_bytes: Called with the number of bytes that were written since the last call.
        name: Where the content is from, for messages.

    Raises:
        CopyDiffers: The content has another size or digest.
    """
    import hashlib

    file.parent.mkdir(parents=True, exist_ok=True)
    written, digest, size = beside(file), hashlib.sha256(), 0
    try:
        with written.open("wb") as stream:
            while chunk := read(CHUNK):
                size += len(chunk)
                if size > listed.bytes:
                    break
                digest.update(chunk)
                stream.write(chunk)
                on_bytes(len(chunk))
            stream.flush()
            os.fsync(stream.fileno())
        if (size, digest.hexdigest()) != (listed.bytes, listed.sha256):
            raise CopyDiffers(f"{name} differs from its SHA-256 in the list of files: make the copy again", "LC-E276")
        take_place(written, file)
    finally:
        remove(written)


def make_links(part: Path, listed: FileList) -> None:
    """Makes the links of a copy, when its files are complete.

    Args:
        part: The unfinished copy.
        listed: Its list.
    """
    for name, target in listed.links.items():
        link = part / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink() or os.readlink(link) != target:  # noqa: PTH115 (as it is listed)
            remove(link)
            link.symlink_to(target)


@contextmanager
def alone(part: Path, path: Path) -> Generator[None]:
    """Context manager: locks an unfinished copy.

    Args:
        part: The unfinished copy, a file or folder.
        path: The output, for the message.

    Raises:
        OperationError: Another process writes it.
    """
    handle = os.open(part, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OperationError(f"another process writes {path}: wait for its end", "LC-E273") from None
        yield
    finally:
        os.close(handle)


def _drop_others(part: Path, listed: FileList) -> None:
    """Removes what an earlier command left and the list does not have."""
    for folder, inner, names in os.walk(part, topdown=False):
        for name in (*names, *inner):
            file = Path(folder, name)
            place = file.relative_to(part).as_posix()
            if file.is_symlink():
                file.unlink()
            elif file.is_dir():
                with contextlib.suppress(OSError):  # it has files
                    file.rmdir()
            elif place not in listed.files:
                file.unlink()
