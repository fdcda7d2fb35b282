"""Copies of an artifact in folders: written file by file, read again, and put in place at once."""

from pathlib import Path

from lazarus_cli.operations.errors import CopyDiffers, OperationError
from lazarus_cli.operations.file_list import LIST, MAX_LIST, FileList
from lazarus_cli.operations.unfinished import OnBytes, is_restored, is_there, make_links, unfinished_folder, write_file
from lazarus_core.bounded import read_bytes
from lazarus_core.reasons import absent_or


def copy_out(
    source: Path, listed: FileList, path: Path, on_bytes: OnBytes = lambda _: None, *, replaces: bool = False
) -> None:
    """Copies an artifact into a folder, with the list of its files.

    Args:
        source: The artifact.
        listed: Its files, as just hashed.
        path: The new folder.
        on_bytes: Called with the number of bytes that were written since the last call.
        replaces: Whether an earlier copy is replaced.

    Raises:
        OutputTaken: `path` exists and is no copy to replace.
        OperationError: Another process writes the copy, or the disk has too little space.
        CopyDiffers: A file changed meanwhile, or was written wrong. Nothing was put in place.
    """
    with unfinished_folder(path, listed, replaces=replaces) as part:
        _fill(source, listed, part, on_bytes)
        (part / LIST).write_bytes(listed.to_bytes())


def copy_in(source: Path, path: Path, on_bytes: OnBytes = lambda _: None, *, expect: str | None = None) -> FileList:
    """Restores an artifact from a copy in a folder, without the list of files. An output that has exactly its files stays.

    Args:
        source: The copy.
        path: The new folder.
        on_bytes: Called with the number of bytes that were written since the last call.
        expect: First digits of the digest of the list, at least 16; None for any.

    Raises:
        OutputTaken: `path` exists and has other files.
        OperationError: `source` has no list of files, or another process writes the copy.
        CopyDiffers: A file differs from the list, or the list is not the expected one. Nothing was put in place.
    """
    listed = read_list(source)
    check_expected(listed, expect)
    if is_restored(path, listed, on_bytes):
        return listed
    with unfinished_folder(path, listed) as part:
        _fill(source, listed, part, on_bytes)
    return listed


def read_list(source: Path) -> FileList:
    """The list of files of a copy in a folder.

    Raises:
        OperationError: It has none.
    """
    file = source / LIST
    if not file.is_file() or file.is_symlink():
        raise OperationError(
            f"{absent_or(source, f'has no {LIST}')}: give a folder that `lazarus backup` or `push` wrote", "LC-E275"
        )
    return FileList.parse(read_bytes(file, MAX_LIST), str(file))


def check_expected(listed: FileList, expect: str | None) -> None:
    """Compares the digest of a list with the expected one.

    Args:
        listed: The list.
        expect: First digits of its digest; None for any.

    Raises:
        CopyDiffers: It is another one.
    """
    if expect is not None and not listed.digest.startswith(expect):
        raise CopyDiffers(
            f"the digest of the list of files is {listed.digest[:16]}, but {expect[:16]} was expected: it is another copy",
            "LC-E276",
        )


def _fill(source: Path, listed: FileList, part: Path, on_bytes: OnBytes) -> None:
    for name, each in listed.files.items():
        if is_there(part / name, each):
            on_bytes(each.bytes)
            continue
        file = source / name
        if not file.is_file() or _is_behind_a_link(source, name):
            raise CopyDiffers(f"{file} is missing: make the copy again", "LC-E276")
        with file.open("rb") as stream:
            write_file(part / name, each, stream.read, on_bytes, str(file))
    make_links(part, listed)


def _is_behind_a_link(source: Path, name: str) -> bool:
    parts = name.split("/")
    return any(source.joinpath(*parts[: number + 1]).is_symlink() for number in range(len(parts)))
