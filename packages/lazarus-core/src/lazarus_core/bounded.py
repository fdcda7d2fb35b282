r"""Bounded reading of files from outside: the content of a file cannot make reading it take more memory than the bound.

Only regular files are read. Devices, named pipes, sockets and folders are refused by name: a device has no end, and a
pipe may never begin. `/dev/stdin` and `/dev/fd/N` (a shell's `<(...)`) may be pipes and have the same bounds.

| bound | value | reason |
|---|---|---|
| a line of JSON Lines | 64 MiB | its values take up to 1.6 GiB (measured with jiter 0.16: `[],[],..`, at the bound of values) |
| a JSON file | 256 MiB | the largest known `tokenizer.json` has 34 MB; larger data belongs in JSON Lines |
| an id | 4,096 bytes | the longest path of Linux; URLs and digests are shorter |
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lazarus_core.errors import InputError

MAX_LINE_BYTES = 64 << 20
"""Maximum bytes of one line, without its line feed."""
MAX_FILE_BYTES = 256 << 20
"""Maximum bytes of a file that is read whole."""
MAX_ID_BYTES = 4096
"""Maximum bytes of a sample id, in UTF-8."""
NOT_REGULAR, BEYOND_BOUND = "LP-E011", "LP-E012"
_STREAMS = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
_KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


def open_file(path: Path | str) -> IO[bytes]:
    """Open a regular file, or a pipe that the shell opened.

    Raises:
        InputError: It is a device, a pipe, a socket or a folder (LP-E011).
        OSError: The system refuses.
    """
    stream = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 (the caller closes it)
    mode = os.fstat(stream.fileno()).st_mode
    is_stream = stat.S_ISFIFO(mode) and str(path).startswith(_STREAMS)
    if stat.S_ISREG(mode) or is_stream:
        os.set_blocking(stream.fileno(), True)
        return stream
    stream.close()
    raise InputError(f"{path} is {_kind_of(mode)}, not a regular file: save its content to a file first", NOT_REGULAR)


def read_bytes(path: Path | str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """The content of a file.

    Args:
        path: The file.
        max_bytes: Maximum size. A larger file is refused before it is read.

    Raises:
        InputError: It is no regular file (LP-E011), or too large (LP-E012).
        OSError: The system refuses.
    """
    with open_file(path) as stream:
        if os.fstat(stream.fileno()).st_size > max_bytes:
            raise _too_large(path, max_bytes)
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise _too_large(path, max_bytes)
    return content


def read_lines(
    stream: IO[bytes], place: Path | str, *, max_bytes: int = MAX_LINE_BYTES, first_line: int = 1
) -> Iterator[bytes]:
    """Iterate over the lines of a stream, with their line feeds, one in memory at a time.

    Args:
        stream: Plain or decompressed bytes.
        place: The file, for messages.
        max_bytes: Maximum bytes of one line, without its line feed.
        first_line: Number of the first line, for messages.

    Raises:
        InputError: A line is too long (LP-E012); the message names file, line and bound.
    """
    number = first_line
    while line := stream.readline(max_bytes + 1):
        if len(line) > max_bytes and not line.endswith(b"\n"):
            raise InputError(
                f"{place}:{number}: the line has more than {max_bytes:,} bytes, the most that are read at once: "
                "split it, or check that the file is JSON Lines",
                BEYOND_BOUND,
            )
        yield line
        number += 1


def read_blocks(stream: IO[bytes], place: Path | str, block_bytes: int) -> Iterator[bytes]:
    """Iterate over the rest of a stream in blocks of whole lines. The last line may lack its line feed.

    Args:
        stream: Plain bytes.
        place: The file, for messages.
        block_bytes: Bytes read at a time.

    Raises:
        InputError: A line is longer than `MAX_LINE_BYTES` (LP-E012).
    """
    begun: list[bytes] = []
    size = 0
    while block := stream.read(block_bytes):
        whole, lf, rest = block.rpartition(b"\n")
        if lf:
            yield b"".join([*begun, whole, lf])
            begun, size = [], 0
        begun.append(rest)
        size += len(rest)
        if size > MAX_LINE_BYTES:
            raise InputError(
                f"{place} has a line of more than {MAX_LINE_BYTES:,} bytes, the most that are read", BEYOND_BOUND
            )
    if size:
        yield b"".join(begun)


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for the writer of a pipe. This makes no difference for a regular file."""
    return os.open(path, flags | os.O_NONBLOCK)


def _kind_of(mode: int) -> str:
    return next((words for is_kind, words in _KINDS.items() if is_kind(mode)), "no file")


def _too_large(path: Path | str, max_bytes: int) -> InputError:
    return InputError(
        f"{path} has more than {max_bytes:,} bytes, the most that are read of such a file: check that it is the right one",
        BEYOND_BOUND,
    )
