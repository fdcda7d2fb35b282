"""Rows with a text: JSON Lines (also .gz and .zst), JSON, CSV, Parquet and data sets of the hub."""

import io
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from lazarus_core.strict_json import parse_object
from lazarus_corpus.documents import Document
from lazarus_corpus.errors import SettingError, SourceError
from lazarus_corpus.settings import SourceSettings
from lazarus_corpus.sources.read import document
from lazarus_tokenkit.samples import read_objects

MAX_LINE_BYTES = 64 << 20
"""Bytes of a line of a .zst file."""


def read(path: Path, source: SourceSettings) -> Iterator[Document]:
    """One document a row.

    Args:
        path: The file, or `hf:owner/name`.
        source: Its source; `text_field`, `id_field` and `group_field` name the fields.

    Raises:
        SourceError: A row has no text.
        SampleError: The file is malformed.
    """
    rows = _zst_rows(path) if path.name.endswith(".zst") else _plain_rows(path)
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
        try:
            lines = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True))
            line = 0
            while content := lines.readline(MAX_LINE_BYTES + 1):
                line += 1
                if len(content) > MAX_LINE_BYTES:
                    raise SourceError(f"{path}:{line}: over {MAX_LINE_BYTES >> 20} MiB", "LD-E104")
                yield parse_object(content, f"{path}:{line}"), f"{path}:{line}"
        except zstandard.ZstdError as error:
            raise SourceError(f"{path}: not a complete Zstandard file ({error})", "LD-E104") from error
