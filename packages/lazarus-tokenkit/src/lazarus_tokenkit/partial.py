"""The rows of a length cache that is being written, kept when the run is stopped.

`.NAME.partial` is a line with the run's identity and then the rows' lines. Another run of the same identity takes them
up, as far as their ids and content are still those of the data; whatever is wrong with the data removes the file.
"""

import json
import logging
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from lazarus_plan.whole import naming, whole_file
from lazarus_tokenkit.errors import TokenkitError

logger = logging.getLogger(__name__)


class Partial:
    """Rows on disk, from an earlier run or from this one.

    Args:
        output: The length cache that they are for.
        identity: One line without its end: what decided the rows.
    """

    def __init__(self, output: Path, identity: bytes) -> None:
        self.path = output.with_name(f".{output.name}.partial")
        self.count = 0
        self._identity = identity + b"\n"
        self._stream: IO[bytes] | None = None
        self._has_more = False
        self._is_finished = False

    def __enter__(self) -> "Partial":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        is_there = self.path.is_file()
        self._stream = self.path.open("r+b" if is_there else "w+b")
        self._has_more = is_there and self._stream.readline() == self._identity
        if is_there and not self._has_more:
            logger.warning("%s is of another tokenizer, template or data: starting over", self.path)
        if not self._has_more:
            self._stream.seek(0)
            self._stream.truncate()
            self._stream.write(self._identity)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._stream is not None, "entered"
        self._stream.close()
        if self._is_finished or isinstance(error, TokenkitError):
            self.path.unlink(missing_ok=True)

    def take(self, rows: Iterable[tuple[str, str]]) -> list[bytes] | None:
        """The lines of these rows, if an earlier run has written them all; else all it has from here on is dropped.

        Args:
            rows: Id and `row` of each.
        """
        if not self._has_more:
            return None
        assert self._stream is not None, "entered"
        start = self._stream.tell()
        wanted = list(rows)
        lines = [self._stream.readline() for _ in wanted]
        if all(map(_is_row, lines, wanted)):
            return lines
        self._has_more = False
        self._stream.seek(start)
        self._stream.truncate()
        return None

    def write(self, lines: Sequence[bytes], *, is_new: bool) -> None:
        """Appends rows, or counts rows that are there already."""
        assert self._stream is not None, "entered"
        if is_new:
            with naming(self.path):
                self._stream.writelines(lines)
        self.count += len(lines)

    def finish(self, output: Path, header: bytes) -> None:
        """Puts the header before the rows, and the file in its place."""
        assert self._stream is not None, "entered"
        self._stream.truncate()
        self._stream.seek(len(self._identity))
        with whole_file(output) as whole:
            whole.write(header)
            shutil.copyfileobj(self._stream, whole, 1 << 20)
        self._is_finished = True


def _is_row(line: bytes, row: tuple[str, str]) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        members = json.loads(line)
    except ValueError:
        return False
    return (members.get("id"), members.get("row")) == row
