"""Length caches: the number of tokens of each sample. Planning needs nothing else of the data.

A file has a header line with the fingerprints of data, template and tokenizer, then one line per sample, addressed by
position. A file without a header is accepted; its fingerprints are `"absent"`.

```
{"lazarus_lengths":1,"count":2,"data":"sha256:..","template":"sha256:..","tokenizer":"sha256:..","encoding":{},"parts":{}}
{"id":"a","length":17,"loss_tokens":9,"h":"0f1e2d3c","row":"4b5a6978"}
```
"""

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from lazarus_core.atomic import naming, parents_made, whole_file
from lazarus_core.bounded import open_file, read_lines
from lazarus_core.canonical import JSON, canonical_json, digest_text
from lazarus_core.strict_json import parse_object
from lazarus_plan.errors import LengthsError

FORMAT_VERSION = 1
ABSENT = "absent"
"""Value of a fingerprint that is not known."""
PREFIX_HEX = 8
"""`h` and `row` are the first 8 hexadecimal digits of a SHA-256: enough to find a changed row, not to prove one."""


@dataclass(frozen=True)
class LengthsHeader:
    """Origin of the lengths.

    Args:
        count: Number of samples.
        data: Merkle root over the digests of the rows, in order.
        template: Digest of the chat template.
        tokenizer: Digest of the tokenizer.
        encoding: Parameters that change ids: field names, end-of-text rules.
        parts: Component digests by link (`data`, `template`, `tokenizer`), so that a mismatch names what changed.
    """

    count: int
    data: str = ABSENT
    template: str = ABSENT
    tokenizer: str = ABSENT
    encoding: JSON = field(default_factory=dict[str, Any])
    parts: JSON = field(default_factory=dict[str, Any])

    def line(self) -> bytes:
        """The header line, with its LF."""
        return _object(self._members()) + b"\n"

    def identity_line(self) -> bytes:
        """The hashed form of the header: all members except `parts`, which the digests cover."""
        return _object({name: value for name, value in self._members().items() if name != "parts"}) + b"\n"

    def _members(self) -> JSON:
        return {"lazarus_lengths": FORMAT_VERSION} | {item.name: getattr(self, item.name) for item in fields(self)}


class LengthRow(NamedTuple):
    """One sample.

    Args:
        id: Stable name of the sample.
        length: Number of tokens.
        loss_tokens: Number of tokens with loss.
        parts: Number of tokens of each part, such as chosen and rejected.
        h: First 8 hex of SHA-256 over the token ids as u32 little-endian.
        row: First 8 hex of the digest of the row's content.
    """

    id: str
    length: int
    loss_tokens: int | None = None
    parts: tuple[int, ...] | None = None
    h: str | None = None
    row: str | None = None

    def line(self) -> bytes:
        """The sample's line, with its LF."""
        return _object({name: value for name, value in self._asdict().items() if value is not None}) + b"\n"


@dataclass(frozen=True)
class LengthCache:
    """Lengths by position, with names and digests where known.

    Args:
        name: File name, for messages.
        header: Origin of the lengths.
        digest: SHA-256 of the header's identity line and the canonical lines of the rows.
        ids: Names of the samples.
        length: Tokens, int64 (N,).
        loss_tokens: Tokens with loss, int64 (N,), or None if a row lacks it.
        token_prefix: First 4 bytes of each row's `h`, uint32 (N,), or None if a row lacks it.
        row_prefix: First 4 bytes of each row's `row`, uint32 (N,), or None if a row lacks it.
    """

    name: str
    header: LengthsHeader
    digest: str
    ids: Sequence[str]
    length: NDArray[np.int64]
    loss_tokens: NDArray[np.int64] | None = None
    token_prefix: NDArray[np.uint32] | None = None
    row_prefix: NDArray[np.uint32] | None = None

    def __len__(self) -> int:
        return len(self.length)

    @property
    def prefixes(self) -> NDArray[np.uint32] | None:
        """Row and token prefixes, uint32 (N, 2), or None if either is missing."""
        if self.row_prefix is None or self.token_prefix is None:
            return None
        return np.stack([self.row_prefix, self.token_prefix], axis=1)

    @classmethod
    def from_rows(
        cls, rows: Iterable[LengthRow], header: LengthsHeader | None = None, name: str = "lengths"
    ) -> "LengthCache":
        """Create a cache from rows in memory. Its digest equals that of a file with the same header and rows.

        >>> cache = LengthCache.from_rows([LengthRow("a", 3), LengthRow("b", 5)])
        >>> len(cache), int(cache.length.sum())
        (2, 8)

        Args:
            rows: Samples in the order of the data; each id occurs once.
            header: Fingerprints of data, template and tokenizer; None if they are unknown.
            name: File name without a folder, for messages and for the plan's metadata.

        Raises:
            LengthsError: For an id that occurs twice.
        """
        rows = list(rows)
        header = header or LengthsHeader(len(rows))
        check_unique(rows, name, first_line=2)
        sha = hashlib.sha256(header.identity_line())
        for row in rows:
            sha.update(row.line())
        return cls(
            name=name,
            header=header,
            digest=digest_text(sha.digest()),
            ids=[row.id for row in rows],
            length=np.array([row.length for row in rows], dtype=np.int64),
            loss_tokens=_column([row.loss_tokens for row in rows], np.int64),
            token_prefix=_column([_prefix(row.h) for row in rows], np.uint32),
            row_prefix=_column([_prefix(row.row) for row in rows], np.uint32),
        )


class LineIds(Sequence[str]):
    """Sample ids that are read from the file on demand, to save memory with millions of samples.

    Args:
        path: The length cache.
        count: Number of samples.
        offset: Position of the first sample's line.
    """

    def __init__(self, path: Path, count: int, offset: int) -> None:
        self._path, self._count, self.offset = path, count, offset

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        with open_file(self._path) as lines:
            lines.seek(self.offset)
            for line in islice(read_lines(lines, self._path), self._count):
                yield str(parse_object(line, str(self._path))["id"])

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return list(self)[index]
        at = range(self._count)[index]
        with open_file(self._path) as lines:
            lines.seek(self.offset)
            return str(parse_object(next(islice(lines, at, None)), str(self._path))["id"])


class LengthsWriter:
    """Write a length cache row by row. The file appears whole at `finish`, or not at all.

    ```
    with LengthsWriter(path) as writer:
        writer.add(LengthRow("a", 17))
        writer.finish(LengthsHeader(count=1))
    ```
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._parents = parents_made(self._path)
        self._body: IO[bytes] | None = None
        self._count = 0

    def __enter__(self) -> "LengthsWriter":
        with naming(self._path):
            self._parents.__enter__()
            self._body = TemporaryFile(dir=self._path.parent)  # it has no name, so nothing can stay behind
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._body is not None:
            self._body.close()
        self._parents.__exit__(kind, error, trace)

    def add(self, row: LengthRow) -> None:
        """Appends one sample."""
        assert self._body is not None, "add() outside `with`"
        with naming(self._path):
            self._body.write(row.line())
        self._count += 1

    def finish(self, header: LengthsHeader) -> None:
        """Write the header before the rows and rename the file to its final name."""
        assert self._body is not None, "finish() outside `with`"
        assert header.count == self._count, f"header counts {header.count}, {self._count} rows were written"
        with whole_file(self._path) as whole:
            self._body.seek(0)
            whole.write(header.line())
            shutil.copyfileobj(self._body, whole, 1 << 20)


def check_unique(rows: Sequence[LengthRow], name: str, first_line: int) -> None:
    """Refuse an id that occurs twice.

    Args:
        rows: Samples in the order of their lines.
        name: Path or name of the file, for the message.
        first_line: 1-based line of the first row: 2 after a header, else 1.

    Raises:
        LengthsError: Names both lines (LP-E120).
    """
    seen: dict[str, int] = {}
    for line, row in enumerate(rows, first_line):
        if row.id in seen:
            raise LengthsError(
                f"{name}:{line}: id {row.id!r} is in line {seen[row.id]} too; ids must be unique", "LP-E120"
            )
        seen[row.id] = line


def _prefix(text: str | None) -> int | None:
    return None if text is None else int(text, 16)


def _column(values: list[int | None], dtype: type[np.generic]) -> NDArray[Any] | None:
    return None if any(value is None for value in values) else np.array(values, dtype=dtype)


def _object(members: JSON) -> bytes:
    """An object with its members in the order given and canonical values."""
    body = b",".join(canonical_json(name) + b":" + canonical_json(value) for name, value in members.items())
    return b"{" + body + b"}"
