"""Writes a length cache. Reading, encoding and writing run concurrently in constant memory.

An interrupted run is resumed: finished rows are stored in `.NAME.partial` with the identity of tokenizer, template and
files. The next run reads the data from the start, so the Merkle root always covers the current data. It skips only the
encoding of unchanged rows.
"""

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from lazarus_core.canonical import canonical_json
from lazarus_core.printable import utf8_name
from lazarus_plan import LengthsHeader
from lazarus_plan.format import merkle_root
from lazarus_tokenkit.encoding.encoder import Encoder, Measure, Prepared
from lazarus_tokenkit.lengths.chunks import WORKERS, Engines, in_order, open_engines
from lazarus_tokenkit.lengths.measure import CHUNK, PREFIX_BYTES, header_of, row_places_in_errors
from lazarus_tokenkit.lengths.resumable import ResumeFile
from lazarus_tokenkit.lengths.stats import LengthTally
from lazarus_tokenkit.outputs import LENGTHS, refuse_output
from lazarus_tokenkit.samples.files import Paths, data_files
from lazarus_tokenkit.samples.read import Row, as_paths, read_rows
from lazarus_tokenkit.samples.schemas import FieldNames
from lazarus_tokenkit.tokenizers.engines import Engine, EngineName
from lazarus_tokenkit.tokenizers.ids import Ids

logger = logging.getLogger(__name__)

_quote = json.JSONEncoder(ensure_ascii=False).encode


class _Chunk(NamedTuple):
    """Rows in progress: either with the lines of an earlier run, or with a future for their ids."""

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
    """Writes the length cache of data files. The file is created atomically.

    Args:
        paths: Data files.
        encoder: Encodes the samples.
        output: Path of the length cache.
        fields: Names of the fields, or None for the standard names.
        on_progress: Called with the number of samples finished since the last call.
        engine: Engine that encodes the texts. If it differs from the reference engine on the first samples, a warning is
            logged and the reference engine is used.
        tally: Counts the lengths of the written rows.
        force: Whether to replace an existing file that is not a length cache.

    Returns:
        The header of the length cache.

    Raises:
        SampleError: A file or row is invalid, or `output` is a data file, is inside the data, or is a directory.
        OutputTaken: `output` exists and is not a length cache.
        TokenkitError: Another process is writing `output`.
    """
    output = Path(output)
    refuse_output(output, paths, LENGTHS, force)
    _ = encoder.chat_template  # an invalid template is not the error of the first row
    engines, rows = open_engines(encoder, read_rows(paths, fields), engine)
    with ResumeFile(output, _identity(paths, encoder, fields, engines.texts)) as partial:
        written = _write(rows, encoder, engines, partial, on_progress or _no_progress, tally)
        root = merkle_root(written)
        named = None if engine == "huggingface" else engines.texts.name
        header = header_of(paths, encoder, partial.count, root, named)
        partial.finish(output, header.line())
    return header


def row_line(sample_id: str, measure: Measure, digest: bytes) -> bytes:
    """Returns the line of a row, equal to `LengthRow.line`, in a tenth of its time.

    Args:
        sample_id: Id of the sample.
        measure: Lengths and id digest of the sample.
        digest: SHA-256 of the sample's content, 32 bytes.
    """
    parts = "" if measure.parts is None else f',"parts":[{",".join(map(str, measure.parts))}]'
    return (
        f'{{"id":{_quote(sample_id)},"length":{measure.length},"loss_tokens":{measure.loss_tokens}{parts},'
        f'"h":"{measure.h}","row":"{digest[:PREFIX_BYTES].hex()}"}}\n'
    ).encode()


def _write(
    rows: Iterator[Row],
    encoder: Encoder,
    engines: Engines,
    partial: ResumeFile,
    on_progress: Callable[[int], Any],
    tally: LengthTally | None,
) -> Iterator[bytes]:
    """Writes all rows and yields their digests."""

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
    batch: list[Row], encoder: Encoder, engines: Engines, partial: ResumeFile, workers: ThreadPoolExecutor
) -> _Chunk:
    digests = [row.sample.digest for row in batch]
    rows = zip(batch, digests, strict=True)
    lines = partial.reuse((row.sample.id, digest[:PREFIX_BYTES].hex()) for row, digest in rows)
    if lines is not None:
        return _Chunk(batch, digests, lines, None, None)
    with row_places_in_errors(batch, encoder):
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
    """Returns the canonical JSON of all inputs that must be unchanged to reuse the rows of an earlier run."""
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
