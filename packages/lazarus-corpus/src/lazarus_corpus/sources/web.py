"""HTML files and WARC archives; the text is extracted by `trafilatura` (extra `web`)."""

import gzip
import os
import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from lazarus_core.bounded import MAX_FILE_BYTES, read_bytes
from lazarus_corpus.documents import Document
from lazarus_corpus.errors import SettingError, SourceError
from lazarus_corpus.settings import SourceSettings
from lazarus_corpus.sources.read import document

MAX_PAGE_BYTES = 32 << 20
"""Bytes of a page; larger ones of an archive are passed over, as are records that are no HTML."""
_BLOCK_BYTES = 1 << 16


def read_html(path: Path, source: SourceSettings) -> Iterator[Document]:
    """The main text of a page; nothing if it has none.

    Args:
        path: The file.
        source: Its source.

    Raises:
        SettingError: `trafilatura` is not installed.
    """
    text = _main_text(read_bytes(path, min(MAX_FILE_BYTES, MAX_PAGE_BYTES)), path)
    if text:
        yield document(text, source, str(path))


def read_warc(path: Path, source: SourceSettings) -> Iterator[Document]:
    """The main text of each HTML response of an archive. The id is the address and the time of the record.

    Args:
        path: The archive, `.warc` or `.warc.gz`.
        source: Its source.

    Raises:
        SettingError: `trafilatura` or `warcio` is not installed.
        SourceError: The archive is damaged.
    """
    for record, content in _responses(path):
        text = _main_text(content, path)
        if text:
            address = record.get_header("WARC-Target-URI") or ""
            time = record.get_header("WARC-Date") or ""
            yield document(text, source, f"{path} ({address})", f"{address} {time}".strip() or None)


def _responses(path: Path) -> Iterator[tuple[Any, bytes]]:
    """Headers of the record and content of each HTML response that is not too large."""
    archives = _module("warcio.archiveiterator", path)
    broken = _module("warcio.exceptions", path).ArchiveLoadFailed
    try:
        with path.open("rb") as stream:
            _require_whole_members(stream)
            # Headers of HTTP are read below: warcio takes a record that is cut off before them for the end of the file.
            records = archives.ArchiveIterator(stream, no_record_parse=True)
            is_empty = True
            for record in records:
                is_empty = False
                content = _page(record, records.loader)
                if content is not None and len(content) <= MAX_PAGE_BYTES:
                    yield record.rec_headers, content
            if is_empty and stream.seek(0, os.SEEK_END):
                raise EOFError
    except (broken, EOFError, OSError, ValueError, zlib.error) as error:
        reason = str(error) or "a record is cut off"
        raise SourceError(f"{path}: the archive is damaged ({reason})", "LD-E105") from error


def _page(record: Any, loader: Any) -> bytes | None:
    """The content of a record that is an HTML response, up to `MAX_PAGE_BYTES` and one more; None for other records.

    Args:
        record: The record; all of it is read.
        loader: Of warcio, for the headers of HTTP.

    Raises:
        EOFError: The record is cut off.
    """
    if not (record.rec_headers.get_header("Content-Length") or "").strip().isdigit():
        raise EOFError("a record has no length")
    content = None
    address = record.rec_headers.get_header("WARC-Target-URI")
    if record.rec_type == "response" and address:
        record.http_headers = loader.load_http_headers(record.rec_type, address, record.raw_stream, record.length)
        kind = record.http_headers.get_header("Content-Type", "") if record.http_headers else ""
        if "html" in kind.lower():
            content = record.content_stream().read(MAX_PAGE_BYTES + 1)
    while record.raw_stream.read(_BLOCK_BYTES):
        pass
    if getattr(record.raw_stream, "limit", 0) > 0:
        raise EOFError("a record is cut off")
    return content


def _require_whole_members(stream: IO[bytes]) -> None:
    """Checks that a gzip file is complete, because warcio reads an incomplete one without an error. Rewinds the stream."""
    if stream.read(2) == b"\x1f\x8b":
        stream.seek(0)
        with gzip.GzipFile(fileobj=stream) as unpacked:
            while unpacked.read(_BLOCK_BYTES):
                pass
    stream.seek(0)


def _main_text(content: bytes, path: Path) -> str:
    extract: Any = _module("trafilatura", path).extract
    return extract(content, include_comments=False, include_tables=True) or ""


def _module(name: str, path: Path) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise SettingError(f"{path}: to read it, install lazarus-corpus[web]", "LD-E121") from error
