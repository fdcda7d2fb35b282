"""Writes a length cache: read, encode, write, side by side, in memory that does not grow with the data.

A run that was stopped goes on where it was: finished rows lie in `.NAME.partial` under the identity of tokenizer,
template and files. The data is read again from its start, so that the root over all rows is that of the data as it is
now; only the encoding of rows whose content is still the same is spared.
"""

import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from lazarus_core.canonical import canonical_json
from lazarus_core.outputs import check_output
from lazarus_core.printable import utf8_name
from lazarus_plan import LengthsHeader, merkle_root
from lazarus_tokenkit.encoding.encoder import Encoder, Measure, Prepared
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.lengths.measure import CHUNK, PREFIX_BYTES, header_of, naming_rows
from lazarus_tokenkit.lengths.resumable import Partial
from lazarus_tokenkit.lengths.stats import LengthTally
from lazarus_tokenkit.outputs import LENGTHS
from lazarus_tokenkit.samples.documents import sample_text
from lazarus_tokenkit.samples.files import Paths, data_files
from lazarus_tokenkit.samples.read import Row, as_paths, read_rows
from lazarus_tokenkit.samples.schemas import FieldNames
from lazarus_tokenkit.tokenizers.backends.huggingface import batches_on_one_thread
from lazarus_tokenkit.tokenizers.engines import NUM_CHECKED, Engine, EngineName, choose_engine, continuation_engine
from lazarus_tokenkit.tokenizers.ids import Ids

logger = logging.getLogger(__name__)

WORKERS = min(os.cpu_count() or 1, 8)
"""Chunks that are encoded at the same time; more than eight would wait for the rows, which one thread reads."""
_quote = json.JSONEncoder(ensure_ascii=False).encode


class _Engines(NamedTuple):
    """What encodes texts, and what encodes texts that continue others."""

    texts: Engine
    continuing: Engine

    def encode(self, prepared: Prepared) -> tuple[list[Ids], list[Ids]]:
        """Ids of `prepared.texts` and of `prepared.continuing`."""
        continuing = self.continuing.encode_batch(prepared.continuing) if prepared.continuing else []
        return self.texts.encode_batch(prepared.texts), continuing


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
    _refuse_output(output, paths, force)
    _ = encoder.chat_template  # fails before the first row, not because of it
    rows = read_rows(paths, fields)
    first = list(islice(rows, NUM_CHECKED)) if engine != "huggingface" else []
    texts = [sample_text(row.sample) for row in first]
    fingerprint = encoder.fingerprint.fingerprint
    chosen = choose_engine(encoder.tokenizer, engine, texts, fingerprint)
    engines = _Engines(chosen, continuation_engine(encoder.tokenizer, chosen, texts, fingerprint))
    with Partial(output, _identity(paths, encoder, fields, chosen)) as partial:
        written = _write(chain(first, rows), encoder, engines, partial, on_progress or _no_progress, tally)
        root = merkle_root(written)
        header = header_of(paths, encoder, partial.count, root, None if engine == "huggingface" else chosen.name)
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
    engines: _Engines,
    partial: Partial,
    on_progress: Callable[[int], Any],
    tally: LengthTally | None,
) -> Iterator[bytes]:
    """Writes all rows; yields their digests."""
    waiting: deque[_Chunk] = deque()
    with batches_on_one_thread(), ThreadPoolExecutor(1 if engines.texts.is_parallel else WORKERS) as workers:
        while True:
            batch = list(islice(rows, CHUNK))
            if batch:
                waiting.append(_start(batch, encoder, engines, partial, workers))
            if waiting and (len(waiting) > 2 * WORKERS or not batch):
                chunk = waiting.popleft()
                lines = _finish(chunk, encoder)
                partial.write(lines, is_new=chunk.lines is None)
                if tally is not None:
                    tally.add(lines)
                on_progress(len(chunk.rows))
                yield from chunk.digests
            elif not batch:
                return


def _start(
    batch: list[Row], encoder: Encoder, engines: _Engines, partial: Partial, workers: ThreadPoolExecutor
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


def _refuse_output(output: Path, paths: Paths, force: bool) -> None:
    """The data stay as they are: the length cache takes no data file's place, and is none of a folder's files."""
    if output.is_dir():
        raise SampleError(f"{output} is a directory: name a file for the length cache", "LT-E315")
    for path in as_paths(paths):
        is_same = output.exists() and any(output.samefile(file) for file in data_files(path) if file.exists())
        is_inside = path.is_dir() and output.resolve().is_relative_to(path.resolve())
        if is_same or is_inside:
            raise SampleError(
                f"{output} {'is the data file' if is_same else 'lies among the data'} {path}: "
                "choose another file for the length cache",
                "LT-E315",
            )
    check_output(output, LENGTHS, inputs=as_paths(paths), force=force)


def _no_progress(count: int) -> None:
    pass
