"""Which files and folders a command may replace.

One rule for every command with an output:

- An absent or empty file, an open stream and a device are written. Missing parent folders are created.
- An earlier output of the same kind is replaced. Each kind defines how it is recognised.
- Any other file is replaced only with `force`.
- Inputs, folders with other files, and targets of links that are of another kind are never replaced.
"""

import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from lazarus_core.atomic import stream_number, whole_file
from lazarus_core.errors import OutputTaken

if TYPE_CHECKING:
    from collections.abc import Generator

HEAD_BYTES = 8192
"""Bytes at the start of a file by which its kind is recognised."""
_SHOWN = 5
"""Maximum number of names that a message lists."""


def _nothing(path: Path) -> bool:
    return False


@dataclass(frozen=True)
class OutputKind:
    """A kind of file that commands write.

    Args:
        name: Name with its article, such as "a length cache".
        is_own: Whether a file is an earlier output of this kind. By default no file is.
        code: Code of the error that refuses another file.
    """

    name: str
    is_own: Callable[[Path], bool] = _nothing
    code: str = "LP-E010"


def begins_with(pattern: str) -> Callable[[Path], bool]:
    """Recognise files whose first bytes match a regular expression."""
    compiled = re.compile(pattern.encode(), re.DOTALL)

    def is_own(path: Path) -> bool:
        with path.open("rb") as stream:
            return compiled.match(stream.read(HEAD_BYTES)) is not None

    return is_own


def check_output(path: Path, kind: OutputKind, *, inputs: Iterable[Path] = (), force: bool = False) -> None:
    """Check that a file may be written, before any work is done.

    Args:
        path: The output.
        kind: Kind of the new file.
        inputs: Files and folders that the command reads. None of their files is replaced.
        force: Replace a file of another kind.

    Raises:
        OutputTaken: The file must not be written; the message gives the reason and the way out.
    """
    if stream_number(path) is not None:
        return
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        check_parents(path, kind.name, code=kind.code)
        return
    if stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
        return
    if not stat.S_ISREG(mode):
        what = "a directory" if stat.S_ISDIR(mode) else "no file"
        raise OutputTaken(f"{path} is {what}: give the name of a file for {kind.name}", kind.code)
    is_own = path.stat().st_size == 0 or kind.is_own(path)
    for each in inputs:
        if _is_input(path, each, is_own):
            raise OutputTaken(f"{path} is an input ({each}): give another name for {kind.name}", kind.code)
    if is_own:
        return
    if path.is_symlink():
        raise OutputTaken(
            f"{path} is a link to {os.path.realpath(path)}, which is not {kind.name}: give another name, or remove the link",
            kind.code,
        )
    if not force:
        raise OutputTaken(
            f"{path} exists and is not {kind.name} written earlier: give another name, or set `force` to replace it",
            kind.code,
        )


def check_folder(path: Path, what: str, *, code: str = "LP-E010") -> None:
    """Check that a new folder may be created: `path` is absent or an empty folder.

    Args:
        path: The output.
        what: Name with its article, such as "a model".
        code: Code of the error.

    Raises:
        OutputTaken: `path` is a file or a folder with files.
    """
    if not os.path.lexists(path):
        check_parents(path, what, code=code)
        return
    if path.is_dir() and not any(path.iterdir()):
        return
    raise OutputTaken(f"{path} exists: give another name for {what}, or remove it first", code)


def check_names(path: Path, names: Sequence[str], what: str, *, code: str = "LP-E010") -> None:
    """Check that a folder contains only files that an earlier output may have.

    Args:
        path: The folder; it may be absent.
        names: Names of the files of this kind of output.
        what: Name with its article, such as "a sweep".
        code: Code of the error.

    Raises:
        OutputTaken: The folder contains other files, or `path` is a file.
    """
    if not os.path.lexists(path):
        check_parents(path, what, code=code)
        return
    if not path.is_dir():
        raise OutputTaken(f"{path} is a file: give the name of a folder for {what}", code)
    others = sorted({each.name for each in path.iterdir()} - set(names))
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        raise OutputTaken(
            f"{path} holds {', '.join(others[:_SHOWN])}{more} beside {what}: choose another folder, or move them",
            code,
        )


def check_parents(path: Path, what: str, *, code: str = "LP-E010") -> None:
    """Check that the missing parent folders of an output can be created.

    Args:
        path: The output; it is absent.
        what: Name with its article, such as "a model".
        code: Code of the error.

    Raises:
        OutputTaken: A part of the path is a file, or a folder in which nothing may be created.
        OSError: The system refuses the path, such as one that is too long.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        path.lstat()  # the name is too long, or a folder must not be entered
    parent = next((each for each in path.parents if os.path.lexists(each)), Path())
    if not parent.is_dir():
        raise OutputTaken(f"{parent} is a file, so {path} cannot lie below it: give another name for {what}", code)
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputTaken(f"{parent} must not be written to: give another folder for {what}", code)


@contextmanager
def whole_output(
    path: Path, kind: OutputKind, *, inputs: Iterable[Path] = (), force: bool = False
) -> "Generator[IO[bytes]]":
    """Context manager: check an output by `check_output`, then open it by `whole_file`.

    Args:
        path: The output file.
        kind: Kind of the new file. An existing file of this kind is replaced.
        inputs: Files and folders that the command reads. None of their files is replaced.
        force: Replace a file of another kind.

    Raises:
        OutputTaken: `check_output` refuses the output. Nothing is changed.
    """
    check_output(path, kind, inputs=inputs, force=force)
    with whole_file(path) as stream:
        yield stream


def _is_input(path: Path, each: Path, is_own: bool) -> bool:
    """Whether writing `path` would replace an input or a file in it. Earlier outputs in an input folder do not count."""
    if not each.exists():
        return False
    if path.samefile(each):
        return True
    return each.is_dir() and not is_own and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(each))
