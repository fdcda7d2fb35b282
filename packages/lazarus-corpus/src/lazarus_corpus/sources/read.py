"""Reads the documents of a source. A format is one file of this room and one line of `READERS`."""

import os
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from lazarus_core.bounded import MAX_FILE_BYTES
from lazarus_corpus.documents import Document, content_digest
from lazarus_corpus.errors import SourceError
from lazarus_corpus.settings import SourceSettings

HUB = "hf:"
READERS = {
    "rows": "lazarus_corpus.sources.rows:read",
    "text": "lazarus_corpus.sources.texts:read_text",
    "markdown": "lazarus_corpus.sources.texts:read_markdown",
    "html": "lazarus_corpus.sources.web:read_html",
    "warc": "lazarus_corpus.sources.web:read_warc",
}
"""Format -> function from a file and the source's settings to documents."""
ENDINGS = {
    "text": (".txt", ".rst"),
    "markdown": (".md", ".markdown"),
    "html": (".html", ".htm"),
    "warc": (".warc", ".warc.gz"),
    "rows": (".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson", ".json", ".csv", ".tsv", ".parquet"),
}
_CORPUS = ("shards", "manifest.json", "removed.jsonl")
"""Names by which the folder of a corpus is known."""
Read = Callable[[Path, SourceSettings], Iterator[Document]]


def files_of(source: SourceSettings, output: Path | None = None) -> list[Path]:
    """All files of a source; a data set of the hub and a saved data set count as one.

    Args:
        source: The source. Hidden files and folders inside its folders are passed over.
        output: The folder of the corpus, which is passed over too; None for none.

    Raises:
        SourceError: A path does not exist or is a corpus, or a folder has no file of a known format.
    """
    found: list[Path] = []
    for path in source.path:
        if str(path).startswith(HUB) or is_saved_data_set(path):
            found.append(path)
        elif path.is_dir():
            if all((path / name).exists() for name in _CORPUS):
                raise SourceError(f"{path} is a corpus: give its documents, {path / 'shards'}", "LD-E101")
            own = None if output is None else inner_path(output, path)
            inside = sorted(
                file for file in path.rglob("*") if file.is_file() and _is_readable(file.relative_to(path), source, own)
            )
            if not inside:
                raise SourceError(f"{path}: no file of a known format ({_known()})", "LD-E101")
            found.extend(inside)
        elif path.exists():
            found.append(path)
        else:
            raise SourceError(f"{path} does not exist: correct the path", "LD-E100")
    return found


def is_saved_data_set(path: Path) -> bool:
    """Whether a folder is a data set that Hugging Face's `save_to_disk` wrote."""
    return path.is_dir() and any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))


def read_file(path: Path, source: SourceSettings) -> Iterator[Document]:
    """The documents of one file, in its order.

    Args:
        path: The file, or `hf:owner/name`.
        source: Its source.

    Raises:
        SourceError: The file cannot be read; the message names it and the line.
    """
    module, _, name = READERS[format_of(path, source)].partition(":")
    read: Read = getattr(import_module(module), name)
    return read(path, source)


def format_of(path: Path, source: SourceSettings) -> str:
    """The format of a file: that of the source, or by the file's ending.

    Args:
        path: The file.
        source: Its source.

    Raises:
        SourceError: No format has the file's ending.
    """
    if source.format != "auto":
        return source.format
    if str(path).startswith(HUB) or path.is_dir():
        return "rows"
    for name, endings in ENDINGS.items():
        if path.name.lower().endswith(endings):
            return name
    raise SourceError(f"{path}: the ending names no known format ({_known()}); give `format`", "LD-E101")


def document(text: str, source: SourceSettings, place: str, own_id: str | None = None, group: str = "") -> Document:
    """A document as it was read.

    Args:
        text: Its text.
        source: Its source.
        place: `file:line`.
        own_id: Its stable id; None for the digest of its text.
        group: What must stay in one split with it.
    """
    return Document(own_id or content_digest(text).hex(), text, source.name, place, group)


def text_of(path: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark.

    Raises:
        SourceError: The file is not UTF-8.
        InputError: The file cannot be read or is too large.
    """
    from lazarus_core.bounded import read_bytes

    content = read_bytes(path, MAX_FILE_BYTES)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SourceError(f"{path}:{line}: not UTF-8 (byte {error.start:,}); convert the file", "LD-E102") from error


def inner_path(path: Path, folder: Path) -> Path | None:
    """A path relative to a folder that it is or lies in, links followed; None if it lies elsewhere.

    Args:
        path: The path.
        folder: The folder.
    """
    real, above = (Path(os.path.realpath(each)) for each in (path, folder))
    return real.relative_to(above) if real.is_relative_to(above) else None


def _is_readable(path: Path, source: SourceSettings, output: Path | None) -> bool:
    """Whether a file of a folder is read.

    Args:
        path: The file, relative to the folder.
        source: The source.
        output: The folder of the corpus, relative to the folder; None if it lies elsewhere.
    """
    if any(part.startswith(".") for part in path.parts) or (output is not None and path.is_relative_to(output)):
        return False
    endings = list(ENDINGS.values()) if source.format == "auto" else [ENDINGS[source.format]]
    return path.name.lower().endswith(tuple(ending for each in endings for ending in each))


def _known() -> str:
    return ", ".join(ending for endings in ENDINGS.values() for ending in endings)
