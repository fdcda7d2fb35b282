"""Writes a length cache: read, encode, write, side by side, in memory that does not grow with the data.

A run that was stopped goes on where it was: finished rows lie in `.NAME.partial` under the identity of tokenizer,
template and files. The data is read again from its start, so that the root over all rows is that of the data as it is
now; only the encoding of rows whose content is still the same is spared.
"""

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from lazarus_plan import LengthsHeader, canonical_json, merkle_root
from lazarus_plan.printable import utf8_name
from lazarus_tokenkit.chunks import WORKERS, Engines, in_order, open_engines
from lazarus_tokenkit.encode import Encoder, Measure, Prepared
from lazarus_tokenkit.engines import Engine, EngineName
from lazarus_tokenkit.files import Paths, data_files
from lazarus_tokenkit.forms import FieldNames
from lazarus_tokenkit.ids import Ids
from lazarus_tokenkit.lengths import CHUNK, PREFIX_BYTES, header_of, naming_rows
from lazarus_tokenkit.outputs import LENGTHS, refuse_output
from lazarus_tokenkit.partial import Partial
from lazarus_tokenkit.readers import Row, as_paths, read_rows
from lazarus_tokenkit.stats import LengthTally

logger = logging.getLogger(__name__)

_quote = json.JSONEncoder(ensure_ascii=False).encode


class _Chunk(NamedTuple):
    """Rows on their way: those that an earlier run finished have their lines, the others wait for their ids."""

    rows: list[Row]
    digests: list[bytes]
    lines: list[bytes] | None
    prepared: Prepared | None
    ids: Future[tuple[list[Ids], list[Ids]]] | None


def build_lengths(
    paths: Paths,
    encoder: Encoder,
    output: Path | str,
    fields: FieldNames | None = None,
    on_progress: Callable[[int], Any] | None = None,
    engine: EngineName = "huggingface",
    tally: LengthTally | None = None,
    force: bool = False,
) -> LengthsHeader:
    """Writes the length cache of data files; the file appears whole or not at all.

    Args:
        paths: Data files.
        encoder: What encodes them.
        output: The length cache.
        fields: Names of the fields, where they are not the standard ones.
        on_progress: Called with the number of samples done since the last call.
        engine: Encodes in the tokenizer's place; it must be exact on the first samples, else a warning says so.
        tally: Counts the lengths on the way.
        force: Replace a file that is no length cache.

    Raises:
        SampleError: `output` is one of the data files, by whatever name, lies among them, or is a directory.
        OutputTaken: `output` is there and is no length cache.
        TokenkitError: Another process builds `output`.
    """
    output = Path(output)
    refuse_output(output, paths, LENGTHS, force)
    _ = encoder.chat_template  # fails before the first row, not because of it
    engines, rows = open_engines(encoder, read_rows(paths, fields), engine)
    with Partial(output, _identity(paths, encoder, fields, engines.texts)) as partial:
        written = _write(rows, encoder, engines, partial, on_progress or _no_progress, tally)
        root = merkle_root(written)
        named = None if engine == "huggingface" else engines.texts.name
        header = header_of(paths, encoder, partial.count, root, named)
        partial.finish(output, header.line())
    return header


def row_line(sample_id: str, measure: Measure, digest: bytes) -> bytes:
    """A row's line: `LengthRow.line`, written out, in a tenth of the time."""
    parts = "" if measure.parts is None else f',"parts":[{",".join(map(str, measure.parts))}]'
    return (
        f'{{"id":{_quote(sample_id)},"length":{measure.length},"loss_tokens":{measure.loss_tokens}{parts},'
        f'"h":"{measure.h}","row":"{digest[:PREFIX_BYTES].hex()}"}}\n'
    ).encode()


def _write(
    rows: Iterator[Row],
    encoder: Encoder,
    engines: Engines,
    partial: Partial,
    on_progress: Callable[[int], Any],
    tally: LengthTally | None,
) -> Iterator[bytes]:
    """Writes all rows; yields their digests."""

    def start(batch: list[Row], pool: ThreadPoolExecutor) -> _Chunk:
        return _start(batch, encoder, engines, partial, pool)

    for chunk in in_order(rows, start, CHUNK, 1 if engines.texts.is_parallel else WORKERS):
        lines = _finish(chunk, encoder)
        partial.write(lines, is_new=chunk.lines is None)
        if tally is not None:
            tally.add(lines)
        on_progress(len(chunk.rows))
        yield from chunk.digests


def _start(
    batch: list[Row], encoder: Encoder, engines: Engines, partial: Partial, workers: ThreadPoolExecutor
) -> _Chunk:
    digests = [row.sample.digest for row in batch]
    rows = zip(batch, digests, strict=True)
    lines = partial.take((row.sample.id, digest[:PREFIX_BYTES].hex()) for row, digest in rows)
    if lines is not None:
        return _Chunk(batch, digests, lines, None, None)
    with naming_rows(batch, encoder):
        prepared = encoder.prepare([row.sample for row in batch])
    return _Chunk(batch, digests, None, prepared, workers.submit(engines.encode, prepared))


def _finish(chunk: _Chunk, encoder: Encoder) -> list[bytes]:
    if chunk.lines is not None:
        return chunk.lines
    assert chunk.prepared is not None and chunk.ids is not None, "a chunk has lines or waits for ids"
    measures = encoder.measure(chunk.prepared, *chunk.ids.result())
    rows = zip(chunk.rows, measures, chunk.digests, strict=True)
    return [row_line(row.sample.id, measure, digest) for row, measure, digest in rows]


def _identity(paths: Paths, encoder: Encoder, fields: FieldNames | None, engine: Engine) -> bytes:
    """What must be the same for an earlier run's rows to be this one's."""
    listed = [file for path in as_paths(paths) for file in data_files(path) if file.exists()]
    files = [[utf8_name(file.name), file.stat().st_size] for file in listed]
    return canonical_json(
        {
            "tokenizer": encoder.fingerprint.fingerprint,
            "template": encoder.template_digest,
            "encoding": encoder.parameters,
            "fields": asdict(fields or FieldNames()),
            "files": files,
            "made_by": [f"lazarus-tokenkit {version('lazarus-tokenkit')}", encoder.fingerprint.library, engine.name],
        }
    )


def _no_progress(count: int) -> None:
    pass
