"""Archives of an artifact: `.tar`, `.tar.gz` or `.tar.zst`, with the list of files as the first member.

Every member is a compressed stream of its own, so that a killed command continues after the last complete member. The
members are plain: `tar -xf` opens them. Reading takes memory for one block, whatever an archive claims, and nothing is
written that the list does not name.
"""

import contextlib
import gzip
import json
import os
import tarfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Protocol

from lazarus_cli.operations.copies import check_expected
from lazarus_cli.operations.errors import CopyDiffers, OperationError
from lazarus_cli.operations.file_list import CHUNK, LIST, MAX_LIST, FileList
from lazarus_cli.operations.unfinished import (
    OnBytes,
    alone,
    check_space,
    is_restored,
    is_there,
    make_links,
    part_of,
    unfinished_folder,
    write_file,
)
from lazarus_core.atomic import flush, naming, parents_made, take_place, whole_file
from lazarus_core.bounded import open_file
from lazarus_core.errors import LazarusError
from lazarus_core.outputs import OutputKind, check_output
from lazarus_core.strict_json import read_object

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.zst")
_KIND = OutputKind("a backup", code="LC-E273")
_BLOCK = tarfile.BLOCKSIZE
_MAX_READ = 8 << 20
"""Most bytes that are read at once, such as a header of many long names."""
_WINDOW = 1 << 27
"""Largest window of Zstandard that is read, in bytes: that of its highest standard level."""


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def is_archive(path: Path) -> bool:
    """Whether a name is that of an archive."""
    return path.name.lower().endswith(ENDINGS)


def write_archive(source: Path, listed: FileList, path: Path, on_bytes: OnBytes = lambda _: None) -> None:
    """Writes an archive, reads it again, and puts it in place.

    Args:
        source: The artifact.
        listed: Its files, as just hashed.
        path: The new file.
        on_bytes: Called with the number of bytes that were written since the last call.

    Raises:
        OutputTaken: `path` exists.
        OperationError: The disk has too little space, or the package for Zstandard is not installed.
        CopyDiffers: A file changed meanwhile, or the archive was written wrong. Nothing was put in place.
    """
    compressor = _compressor(path)
    check_output(path, _KIND)
    part = part_of(path)
    with naming(path, keep=True), parents_made(part):
        check_space(part, listed.total_bytes)
        state = part.with_name(f"{part.name}.json")
        sizes = [0, *(each.bytes for each in listed.files.values()), 0]
        part.touch()
        with alone(part, path), part.open("r+b") as archive:
            done, size = _continued(part, state, listed)
            archive.truncate(size)
            archive.seek(size)
            for number, member in enumerate(_members(source, listed)):
                if number >= done:
                    for chunk in _compressed(compressor(), member()):
                        archive.write(chunk)
                    archive.flush()
                    os.fsync(archive.fileno())
                    with whole_file(state) as file:
                        place = {"list": listed.digest, "members": number + 1, "bytes": archive.tell()}
                        file.write(json.dumps(place).encode())
                on_bytes(sizes[number])
        try:
            check_archive(part, name=path.name)
        except OperationError:
            part.unlink()  # the next command writes it from the start
            state.unlink(missing_ok=True)
            raise
        state.unlink(missing_ok=True)  # first, so that a kill leaves nothing beside the archive
        take_place(part, path)
        flush(path.parent)


def check_archive(path: Path, *, name: str | None = None, on_bytes: OnBytes = lambda _: None) -> FileList:
    """Reads an archive to its end and compares every file with the list; nothing is written.

    Args:
        path: The archive.
        name: Its name, if another one has the ending.
        on_bytes: Called with the number of bytes that were read since the last call.

    Raises:
        OperationError: It is no archive of `lazarus backup`.
        CopyDiffers: A file differs from the list.
    """
    import hashlib

    with _opened(path, name or path.name) as (listed, members):
        for member, read in members:
            digest, size = hashlib.sha256(), 0
            while chunk := read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
                on_bytes(len(chunk))
            if digest.hexdigest() != listed.files[member].sha256:
                raise CopyDiffers(f"{path}: {member} differs from its SHA-256: make the backup again", "LC-E276")
    return listed


def restore_archive(
    path: Path, output: Path, on_bytes: OnBytes = lambda _: None, *, expect: str | None = None
) -> FileList:
    """Restores the artifact of an archive. An output that has exactly its files stays as it is.

    Args:
        path: The archive.
        output: The new folder.
        on_bytes: Called with the number of bytes that were written since the last call.
        expect: First digits of the digest of the list; None for any.

    Raises:
        OutputTaken: `output` exists and has other files.
        OperationError: It is no archive of `lazarus backup`.
        CopyDiffers: A file differs from the list. Nothing was put in place.
    """
    with _opened(path, path.name) as (listed, members):
        check_expected(listed, expect)
        if is_restored(output, listed, on_bytes):
            return listed
        with unfinished_folder(output, listed) as part:
            for name, read in members:
                each = listed.files[name]
                if is_there(part / name, each):
                    while chunk := read(CHUNK):
                        on_bytes(len(chunk))
                else:
                    write_file(part / name, each, read, on_bytes, f"{path}: {name}")
            make_links(part, listed)
    return listed


def _members(source: Path, listed: FileList) -> Iterator[Callable[[], Iterator[bytes]]]:
    """The members of the tar file, each as a function that gives its bytes; the last one is the end of the archive."""
    content = listed.to_bytes()
    yield lambda: iter([_header(LIST, len(content)), content, _padding(len(content))])
    for name, each in listed.files.items():
        yield lambda name=name, each=each: _file(source / name, name, each.bytes, each.sha256)
    yield lambda: iter([*(_header(name, 0, target) for name, target in listed.links.items()), bytes(2 * _BLOCK)])


def _file(file: Path, name: str, size: int, sha256: str) -> Iterator[bytes]:
    import hashlib

    yield _header(name, size)
    digest, left = hashlib.sha256(), size
    with file.open("rb") as stream:
        while left and (chunk := stream.read(min(CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
            yield chunk
        left += bool(stream.read(1))
    if left or digest.hexdigest() != sha256:
        raise CopyDiffers(f"{file} changed while it was copied: make the copy again", "LC-E276")
    yield _padding(size)


def _header(name: str, size: int, link: str | None = None) -> bytes:
    """A header without time and owner, so that equal files give equal archives."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    if link is not None:
        member.type, member.linkname = tarfile.SYMTYPE, link
    return member.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


def _compressed(compressor: _Compressor | None, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield piece if compressor is None else compressor.compress(piece)
    if compressor is not None:
        yield compressor.flush()


def _compressor(path: Path) -> Callable[[], _Compressor | None]:
    name = path.name.lower()
    if name.endswith(".zst"):
        zstandard = _zstandard(path)
        return lambda: zstandard.ZstdCompressor(level=3).compressobj()
    if name.endswith("gz"):
        return lambda: zlib.compressobj(6, wbits=31)
    return lambda: None


def _continued(part: Path, state: Path, listed: FileList) -> tuple[int, int]:
    """Complete members of an unfinished archive of the same files, and their bytes."""
    with contextlib.suppress(LazarusError, OSError, KeyError, TypeError):
        found = read_object(state, max_bytes=4096)
        members, size = found["members"], found["bytes"]
        if found["list"] == listed.digest and type(members) is int and 0 < size <= part.stat().st_size:
            return members, size
    return 0, 0


_DAMAGE = (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile, OverflowError)
"""Errors that readers of a damaged archive raise."""


@contextmanager
def _opened(path: Path, name: str) -> Generator[tuple[FileList, Iterator[tuple[str, Callable[[int], bytes]]]]]:
    """The list of an archive and its members, each with a function that reads it."""
    zstandard = _zstandard(path) if name.lower().endswith(".zst") else None
    damage = _DAMAGE if zstandard is None else (*_DAMAGE, zstandard.ZstdError)
    try:
        with open_file(path) as raw:
            if zstandard is not None:
                decoder: Any = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
                stream: Any = decoder.stream_reader(raw, read_across_frames=True)
            else:
                stream = gzip.GzipFile(fileobj=raw) if name.lower().endswith("gz") else raw
            forward: Any = _Forward(stream)  # it has what tarfile calls of a file
            tar = tarfile.TarFile(fileobj=forward)
            listed = _first(tar, path)
            yield listed, _rest(tar, listed, path)
    except damage as error:
        raise _no_archive(path, str(error)) from error


def _first(tar: tarfile.TarFile, path: Path) -> FileList:
    member = tar.next()
    if member is None or member.name != LIST or not member.isreg() or not 0 < member.size <= MAX_LIST:
        raise _no_archive(path, f"its first member is not {LIST}")
    return FileList.parse(_content(tar, member.size, path), f"{path}: {LIST}")


def _rest(tar: tarfile.TarFile, listed: FileList, path: Path) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    """The members after the list, which have to be those of the list, in its order."""
    for name, each in listed.files.items():
        member = _next(tar)
        if member is None or member.name != name or not member.isreg() or member.size != each.bytes:
            raise _no_archive(
                path, f"where {name} is listed it has {'nothing' if member is None else member.name[:100]!r}"
            )
        reader = _Reader(tar, member.size, path)
        yield name, reader.read
        if reader.left:
            raise _no_archive(path, f"{name} was not read to its end")
    for name, target in listed.links.items():
        member = _next(tar)
        if member is None or member.name != name or not member.issym() or member.linkname != target:
            raise _no_archive(path, f"link {name} is missing")
    member = _next(tar)
    if member is not None:
        raise _no_archive(path, f"{member.name[:100]!r} is not listed")


def _next(tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    kept: Any = tar
    kept.members = []  # all of them would be kept
    return tar.next()


class _Reader:
    """Reads the content of a member.

    Args:
        tar: The archive, at the begin of the content.
        left: Bytes that are left.
        path: The archive, for messages.
    """

    def __init__(self, tar: tarfile.TarFile, left: int, path: Path) -> None:
        self._tar, self.left, self._path = tar, left, path

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end."""
        chunk = _content(self._tar, min(size, self.left), self._path)
        self.left -= len(chunk)
        return chunk


def _content(tar: tarfile.TarFile, size: int, path: Path) -> bytes:
    assert tar.fileobj is not None, "it was opened with one"
    parts: list[bytes] = []
    while size:
        part = tar.fileobj.read(min(size, CHUNK))
        if not part:
            raise _no_archive(path, "it ends early")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class _Forward:
    """A stream that is read forward in small pieces, whatever sizes the headers of an archive claim.

    Args:
        stream: Plain or decompressed bytes.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._at = stream, 0

    def read(self, size: int) -> bytes:
        """So many bytes, fewer at the end."""
        if not 0 <= size <= _MAX_READ:
            raise tarfile.ReadError(f"a header claims {size:,} bytes")
        parts: list[bytes] = []
        left = size
        while left and (part := self._stream.read(left)):
            parts.append(part)
            left -= len(part)
        self._at += size - left
        return b"".join(parts)

    def tell(self) -> int:
        """Bytes that were read."""
        return self._at

    def seek(self, place: int) -> int:
        """Goes forward."""
        if place < self._at:
            raise tarfile.ReadError("a header leads backward")
        while self._at < place and self.read(min(place - self._at, CHUNK)):
            pass
        return self._at


def _zstandard(path: Path) -> Any:
    try:
        return import_module("zstandard")
    except ModuleNotFoundError as error:
        raise OperationError(
            f"{path.name} needs the package zstandard: uv pip install 'lazarus-cli[zst]', or name it .tar.gz", "LC-E277"
        ) from error


def _no_archive(path: Path, problem: str) -> OperationError:
    return OperationError(f"{path} is no archive of `lazarus backup`: {problem}; make the backup again", "LC-E275")
