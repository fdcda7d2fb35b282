"""The resume file of a length cache: stores finished rows, so that an interrupted run can be resumed.

The file `.NAME.partial` begins with a line that contains the identity of the run. Blocks of rows follow:

```
{"lazarus_partial":2,"identity":{"encoding":..,"files":..}}
LENGTH DIGEST          bytes of the block, and SHA-256(previous digest || block); line 1 gives the first previous digest
{"id":..}              the lines of the rows
```

A run with the same identity reuses the blocks as long as their digests, ids and contents match. From the first mismatch
on, rows are encoded again. An error in the data deletes the file. A lock on the file ensures that one process at a time
writes an output.
"""

import fcntl
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, cast

from lazarus_core.atomic import naming, parents_made, stream_number, whole_file
from lazarus_core.changed_values import describe_changes
from lazarus_core.strict_json import MalformedJson, parse_json
from lazarus_tokenkit.errors import TokenkitError

if TYPE_CHECKING:
    from lazarus_core.canonical import JSON

logger = logging.getLogger(__name__)

_BEGINS = (b'{"lazarus_partial":', b'{"encoding":')
"""First bytes of a resume file in formats 2 and 1. Format 1 has no digests and is not resumed."""
_MAX_FIRST_LINE = 1 << 20
"""Largest size of a foreign first line that is read, in bytes."""
_MAX_HEAD = 100
"""Largest size of a block's first line in bytes: a digest of 64 digits, a space, a length."""


class ResumeFile:
    """The open resume file of one run. Use it as a context manager.

    Args:
        output: The length cache that is being written.
        identity: JSON text without line breaks with all inputs that decide the rows.
    """

    def __init__(self, output: Path, identity: bytes) -> None:
        self.path = output.with_name(f".{output.name}.partial")
        self.count = 0
        self._output = output
        self._first_line = b'{"lazarus_partial":2,"identity":' + identity + b"}\n"
        self._digest = hashlib.sha256(self._first_line).digest()  # the chain starts at the identity
        self._stream: IO[bytes] | None = None
        self._parents = parents_made(self.path)
        self._has_more = False
        self._is_finished = False

    def __enter__(self) -> "ResumeFile":
        with naming(self._output):
            self._parents.__enter__()
        if stream_number(self._output) is not None or (self._output.exists() and not self._output.is_file()):
            self._stream = tempfile.TemporaryFile()  # a device has no directory for a resume file; closed in `__exit__`
        else:
            with naming(self.path):
                self._stream = self._open()
        first = self._stream.readline(max(len(self._first_line), _MAX_FIRST_LINE))
        self._has_more = first == self._first_line
        if first and not self._has_more:
            logger.warning("%s was begun with other inputs (%s): starting over", self.path, self._changes(first))
        if not self._has_more:
            self._stream.seek(0)
            self._stream.truncate()
            self._stream.write(self._first_line)
        return self

    def _changes(self, first: bytes) -> str:
        """How the inputs of an earlier run differ from those of this one."""
        try:
            before, now = (cast("JSON", parse_json(line, str(self.path))) for line in (first, self._first_line))
            return describe_changes(before["identity"], now["identity"]) or "another version"
        except (MalformedJson, KeyError, TypeError, AttributeError):
            return "its first line cannot be read"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._stream is not None, "entered"
        if self._is_finished or isinstance(error, TokenkitError):
            self.path.unlink(missing_ok=True)  # before the lock is released
        with naming(self.path):
            self._stream.close()
        self._parents.__exit__(kind, error, trace)

    def reuse(self, rows: Iterable[tuple[str, str]]) -> list[bytes] | None:
        """Returns the stored lines of the next rows, or None if they are not all stored. None drops the rest of the file.

        Args:
            rows: Id and content digest (8 hexadecimal digits) of each row.
        """
        if not self._has_more:
            return None
        assert self._stream is not None, "entered"
        start = self._stream.tell()
        wanted = list(rows)
        block = self._read_block()
        lines = [] if block is None else block.splitlines(keepends=True)
        if len(lines) == len(wanted) and all(map(_is_row, lines, wanted)):
            self._digest = self._next_digest(b"".join(lines))
            return lines
        if block is None and self._stream.read(1):
            logger.warning("%s was changed or truncated: its rows from byte %d on are encoded again", self.path, start)
        self._has_more = False
        self._stream.seek(start)
        self._stream.truncate()
        return None

    def write(self, lines: Sequence[bytes], *, is_new: bool) -> None:
        """Appends a block of rows.

        Args:
            lines: The lines of the rows.
            is_new: Whether the rows are not yet in the file. Reused rows are only counted.
        """
        assert self._stream is not None, "entered"
        if is_new:
            block = b"".join(lines)
            self._digest = self._next_digest(block)
            with naming(self.path):
                self._stream.write(b"%d %s\n%s" % (len(block), self._digest.hex().encode(), block))
        self.count += len(lines)

    def finish(self, output: Path, header: bytes) -> None:
        """Writes the length cache atomically: the header and the rows, whose digests are verified again.

        Args:
            output: Path of the length cache.
            header: Its first line.

        Raises:
            TokenkitError: The resume file was changed during the run.
        """
        assert self._stream is not None, "entered"
        end, last = self._stream.tell(), self._digest
        # Rows of an earlier run after the last reused block are dropped, then the digests are computed again.
        self._stream.truncate()
        self._stream.seek(len(self._first_line))
        self._digest = hashlib.sha256(self._first_line).digest()
        with whole_file(output) as whole:
            whole.write(header)
            while self._stream.tell() < end and (block := self._read_block()) is not None:
                self._digest = self._next_digest(block)
                whole.write(block)
            if self._digest != last:
                raise TokenkitError(f"{self.path} was changed during the run: start again", "LT-E504")
        self._is_finished = True

    def _open(self) -> IO[bytes]:
        """Opens and locks the file. If the last owner deleted it before releasing the lock, it is created again."""
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            stream = os.fdopen(handle, "r+b")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stream.close()
                raise TokenkitError(
                    f"another process is writing {self._output}: wait for it, or give another output", "LT-E504"
                ) from None
            if os.fstat(handle).st_nlink:  # 0 links: another process deleted the file before this lock
                head = stream.read(max(map(len, _BEGINS)))
                if head and not head.startswith(_BEGINS):
                    stream.close()
                    raise TokenkitError(f"{self.path} exists and is not a resume file: move it away", "LT-E503")
                stream.seek(0)
                return stream
            stream.close()

    def _read_block(self) -> bytes | None:
        """Returns the next block if it is complete and its digest is correct, else None."""
        assert self._stream is not None, "entered"
        length, _, digest = self._stream.readline(_MAX_HEAD).rstrip(b"\n").partition(b" ")
        if not length.isdigit() or int(length) > os.fstat(self._stream.fileno()).st_size:
            return None
        block = self._stream.read(int(length))
        return block if self._next_digest(block).hex().encode() == digest else None

    def _next_digest(self, block: bytes) -> bytes:
        return hashlib.sha256(self._digest + block).digest()


def _is_row(line: bytes, row: tuple[str, str]) -> bool:
    try:
        members = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(members, dict) and (members.get("id"), members.get("row")) == row  # pyright: ignore[reportUnknownMemberType] (JSON)
