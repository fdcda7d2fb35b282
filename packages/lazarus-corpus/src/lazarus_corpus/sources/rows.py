"""Rows with a text: JSON Lines (also .gz and .zst), JSON, CSV, Parquet and data sets of the hub."""

import io
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from lazarus_core.jsonl import numbered_lines
from lazarus_core.strict_json import parse_object
from lazarus_corpus.documents import Document
from lazarus_corpus.errors import SettingError, SourceError
from lazarus_corpus.settings import SourceSettings
from lazarus_corpus.sources.read import document
from lazarus_tokenkit.samples import read_objects

MAX_LINE_BYTES = 64 << 20
"""Bytes of a line of a .zst file."""
_PACKED_BYTES = 2048
"""Bytes of a .zst file that are unpacked at a time: at most 64 MiB of content."""


def read(path: Path, source: SourceSettings) -> Iterator[Document]:
    """One document a row.

    Args:
        path: The file, or `hf:owner/name`.
        source: Its source; `text_field`, `id_field` and `group_field` name the fields.

    Raises:
        SourceError: A row has no text.
        SampleError: The file is malformed.
    """
    rows = _zst_rows(path) if path.name.lower().endswith(".zst") else _plain_rows(path)
    for members, place in rows:
        text = members.get(source.text_field)
        if not isinstance(text, str):
            shown = ", ".join(f"`{name}`" for name in list(members)[:8])
            found = "null" if text is None else "no text"
            raise SourceError(
                f"{place}: the field `{source.text_field}` is {'missing' if source.text_field not in members else found};"
                f" the row has {shown or 'no field'}; name the field in `text_field`",
                "LD-E103",
            )
        yield document(text, source, place, _word(members, source.id_field), _word(members, source.group_field) or "")


def _word(members: dict[str, Any], name: str) -> str | None:
    value = members.get(name)
    if isinstance(value, bool) or value is None or value == "":
        return None
    return str(value) if isinstance(value, str | int) else None


def _plain_rows(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    for row in read_objects(path):
        yield row.members, row.place


def _zst_rows(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    try:
        zstandard = import_module("zstandard")
    except ModuleNotFoundError as error:
        raise SettingError(f"{path}: to read it, install lazarus-corpus[zst]", "LD-E120") from error
    with path.open("rb") as stream:
        lines = io.BufferedReader(_Frames(stream, lambda: zstandard.ZstdDecompressor().decompressobj()))
        try:
            for line, _, content in numbered_lines(_bounded_lines(lines, path), path):
                yield parse_object(content, f"{path}:{line}"), f"{path}:{line}"
        except (zstandard.ZstdError, EOFError) as error:
            raise SourceError(f"{path}: not a complete Zstandard file ({error})", "LD-E104") from error


def _bounded_lines(stream: IO[bytes], path: Path) -> Iterator[bytes]:
    line = 0
    while content := stream.readline(MAX_LINE_BYTES + 1):
        line += 1
        if len(content) > MAX_LINE_BYTES:
            raise SourceError(f"{path}:{line}: over {MAX_LINE_BYTES >> 20} MiB", "LD-E104")
        yield content


class _Frames(io.RawIOBase):
    """The content of a file of Zstandard frames. zstandard's own reader ends without an error inside a frame that was cut off.

    Args:
        stream: The file.
        open_frame: Makes a decompressor of one frame.
    """

    def __init__(self, stream: IO[bytes], open_frame: Callable[[], Any]) -> None:
        self._stream, self._open_frame = stream, open_frame
        self._frame: Any = None
        self._packed, self._content = b"", memoryview(b"")

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Reads content into a buffer; the number of bytes, 0 at the end.

        Args:
            buffer: The buffer.

        Raises:
            EOFError: The last frame is cut off.
        """
        while not self._content:
            self._packed = self._packed or self._stream.read(_PACKED_BYTES)
            if not self._packed:
                if self._frame is not None:
                    raise EOFError("the last frame is cut off")
                return 0
            self._frame = self._frame or self._open_frame()
            self._content, self._packed = memoryview(self._frame.decompress(self._packed)), b""
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
        size = min(len(buffer), len(self._content))
        buffer[:size], self._content = self._content[:size], self._content[size:]
        return size
