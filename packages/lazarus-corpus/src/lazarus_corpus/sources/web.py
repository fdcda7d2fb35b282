"""HTML files and WARC archives; the text is extracted by `trafilatura` (extra `web`)."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from lazarus_core.bounded import MAX_FILE_BYTES, read_bytes
from lazarus_corpus.documents import Document
from lazarus_corpus.errors import SettingError, SourceError
from lazarus_corpus.settings import SourceSettings
from lazarus_corpus.sources.read import document

MAX_PAGE_BYTES = 32 << 20
"""Bytes of a page; larger ones of an archive are passed over, as are records that are no HTML."""


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
    archives = _module("warcio.archiveiterator", path)
    broken = _module("warcio.exceptions", path).ArchiveLoadFailed
    with path.open("rb") as stream:
        try:
            for record in archives.ArchiveIterator(stream):
                kind = record.http_headers.get_header("Content-Type", "") if record.http_headers else ""
                if record.rec_type != "response" or "html" not in kind.lower():
                    continue
                content = record.content_stream().read(MAX_PAGE_BYTES + 1)
                text = "" if len(content) > MAX_PAGE_BYTES else _main_text(content, path)
                if text:
                    address = record.rec_headers.get_header("WARC-Target-URI") or ""
                    time = record.rec_headers.get_header("WARC-Date") or ""
                    yield document(text, source, f"{path} ({address})", f"{address} {time}".strip() or None)
        except (broken, EOFError, OSError, ValueError) as error:
            raise SourceError(f"{path}: the archive is damaged ({error})", "LD-E105") from error


def _main_text(content: bytes, path: Path) -> str:
    extract: Any = _module("trafilatura", path).extract
    return extract(content, include_comments=False, include_tables=True) or ""


def _module(name: str, path: Path) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise SettingError(f"{path}: to read it, install lazarus-corpus[web]", "LD-E121") from error
