"""Encodes data files to token ids and loss masks for any trainer: in memory, or to a JSON Lines or Parquet file.

The rows have the order of the data and the ids of `build_lengths`. A header has the members of a length cache's header.
It is the first line of JSON Lines, and the schema metadata `lazarus` of Parquet:

```
{"lazarus_encoded":1,"count":2,"data":"sha256:..","template":"sha256:..","tokenizer":"sha256:..","encoding":{},"parts":{}}
{"id":"a","input_ids":[464,2068],"mask":[0,1],"row":"4b5a6978"}
```

`mask` is 1 for each token that carries loss as a label, else 0. `row` has the first 8 hexadecimal digits of the content's
digest, as in a length cache. Samples of several parts, such as chosen and rejected, also have the lengths of the parts in
`parts`. The Parquet columns are `id` string, `input_ids` list<int32>, `mask` list<int8>, `parts` list<int32> (only with
several parts) and `row` string.
"""

import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from lazarus_core.atomic import naming, parents_made, stream_number, whole_file
from lazarus_plan import LengthsHeader
from lazarus_plan.format import merkle_root
from lazarus_tokenkit.encoding.encoder import Encoder, Prepared
from lazarus_tokenkit.errors import TokenkitError
from lazarus_tokenkit.lengths.chunks import WORKERS, Engines, in_order, open_engines
from lazarus_tokenkit.lengths.measure import CHUNK, PREFIX_BYTES, header_of, row_places_in_errors
from lazarus_tokenkit.lengths.stats import LengthTally
from lazarus_tokenkit.outputs import ENCODED, ENCODED_MARK, refuse_output
from lazarus_tokenkit.samples.files import Paths
from lazarus_tokenkit.samples.read import Row, read_rows
from lazarus_tokenkit.samples.schemas import FieldNames
from lazarus_tokenkit.tokenizers.engines import EngineName
from lazarus_tokenkit.tokenizers.ids import Ids

FORMAT_VERSION = 1
LINES, PARQUET = ".jsonl", ".parquet"
"""Suffixes of the two formats."""
METADATA_KEY = "lazarus"
"""Key of the header in the schema metadata of a Parquet file."""
GROUP_TOKENS = 1 << 20
"""Tokens of a Parquet row group: 5 MB in memory before compression."""
COPIED = 1 << 20
"""Bytes copied at a time."""
_DIGITS = bytes([ord("0"), ord("1")]).ljust(256, b"0")
"""Translation table from the mask bytes 0 and 1 to ASCII digits."""
_quote = json.JSONEncoder(ensure_ascii=False).encode


class EncodedSample(NamedTuple):
    """An encoded sample as arrays.

    Args:
        id: Id of the sample, as in the length cache.
        ids: Token ids, int32 (n,).
        mask: Whether each token carries loss as a label, bool (n,).
    """

    id: str
    ids: NDArray[np.int32]
    mask: NDArray[np.bool_]


class _Sample(NamedTuple):
    """An encoded sample with the values of its row."""

    id: str
    ids: Ids
    mask: bytearray
    parts: tuple[int, ...] | None
    digest: bytes


class _Chunk(NamedTuple):
    """Rows that are being encoded."""

    rows: list[Row]
    prepared: Prepared
    ids: Future[tuple[list[Ids], list[Ids]]]


def encode_dataset(
    paths: Paths, encoder: Encoder, fields: FieldNames | None = None, engine: EngineName = "huggingface"
) -> Iterator[EncodedSample]:
    """Encodes data files in parallel and yields the samples in order, in constant memory.

    The parts of a sample of several parts are concatenated; `encode_rows` also gives their lengths.

    Args:
        paths: Data files.
        encoder: Encodes the samples.
        fields: Names of the fields, or None for the standard names.
        engine: Engine that encodes the texts. If it differs from the reference engine on the first samples, a warning is
            logged and the reference engine is used.

    Raises:
        SampleError: A file or a row is invalid. The message names file, line and field.
        TemplateError: The template is invalid, or it refuses a conversation. The message then names file and line.
    """
    _ = encoder.chat_template  # an invalid template is not the error of the first row
    engines, rows = open_engines(encoder, read_rows(paths, fields), engine)
    for chunk in _encoded(rows, encoder, engines):
        for sample in chunk:
            ids = np.frombuffer(sample.ids, dtype=np.uint32).view(np.int32)
            yield EncodedSample(sample.id, ids, np.frombuffer(sample.mask, dtype=np.bool_))


def write_encoded(
    paths: Paths,
    encoder: Encoder,
    output: Path | str,
    fields: FieldNames | None = None,
    on_progress: Callable[[int], Any] | None = None,
    engine: EngineName = "huggingface",
    tally: LengthTally | None = None,
    force: bool = False,
) -> LengthsHeader:
    """Writes ids and loss masks of data files. The file is created atomically.

    Args:
        paths: Data files.
        encoder: Encodes the samples.
        output: Path that ends with `.jsonl` or `.parquet`. Streams and devices get JSON Lines.
        fields: Names of the fields, or None for the standard names.
        on_progress: Called with the number of samples finished since the last call.
        engine: Engine that encodes the texts. If it differs from the reference engine on the first samples, a warning is
            logged and the reference engine is used.
        tally: Counts the lengths of the written samples.
        force: Whether to replace an existing file without encoded samples.

    Returns:
        The header of a length cache of the same data.

    Raises:
        TokenkitError: `output` has another suffix, or pyarrow is not installed.
        SampleError: A file or row is invalid, or `output` is a data file, is inside the data, or is a directory.
        OutputTaken: `output` exists and has no encoded samples.
    """
    output = Path(output)
    refuse_output(output, paths, ENCODED, force)
    open_body = _body_of(output)
    _ = encoder.chat_template
    engines, rows = open_engines(encoder, read_rows(paths, fields), engine)
    count = 0
    with open_body(output) as body:

        def digests() -> Iterator[bytes]:
            nonlocal count
            for chunk in _encoded(rows, encoder, engines):
                body.add(chunk)
                count += len(chunk)
                if tally is not None:
                    for sample in chunk:
                        tally.count(len(sample.ids), sample.mask.count(1))
                if on_progress is not None:
                    on_progress(len(chunk))
                yield from (sample.digest for sample in chunk)

        root = merkle_root(digests())
        header = header_of(paths, encoder, count, root, None if engine == "huggingface" else engines.texts.name)
        body.finish(_header_line(header))
    return header


def _encoded(rows: Iterator[Row], encoder: Encoder, engines: Engines) -> Iterator[list[_Sample]]:
    """Yields chunks of encoded samples, in order."""

    def start(batch: list[Row], pool: ThreadPoolExecutor) -> _Chunk:
        with row_places_in_errors(batch, encoder):
            prepared = encoder.prepare([row.sample for row in batch])
        return _Chunk(batch, prepared, pool.submit(engines.encode, prepared))

    for chunk in in_order(rows, start, CHUNK, 1 if engines.texts.is_parallel else WORKERS):
        joined = encoder.join(chunk.prepared, *chunk.ids.result())
        samples = zip((row.sample for row in chunk.rows), joined, strict=True)
        yield [_Sample(sample.id, *each, sample.digest) for sample, each in samples]


def _header_line(header: LengthsHeader) -> bytes:
    """Returns a header with the members of a length cache's header after `lazarus_encoded`."""
    _, _, members = header.line().rstrip(b"\n").partition(b",")
    return b"%b%d,%b" % (ENCODED_MARK, FORMAT_VERSION, members)


def _body_of(output: Path) -> "Callable[[Path], _Body]":
    """Chooses the format by the file's suffix.

    Raises:
        TokenkitError: The suffix is unknown, or pyarrow is not installed.
    """
    if _is_device(output) or output.suffix == LINES:
        return _JsonLines
    if output.suffix != PARQUET:
        raise TokenkitError(f"{output}: the suffix must be {LINES} or {PARQUET}, which decides the format", "LT-E320")
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise TokenkitError(
            f"{output}: to write Parquet, install lazarus-tokenkit[parquet], or use the suffix {LINES}", "LT-E321"
        ) from error
    return lambda path: _Parquet(path, arrow, parquet)


def _is_device(path: Path) -> bool:
    """Whether a path is an open stream or a device, which have no directory for a temporary file."""
    return stream_number(path) is not None or (path.exists() and not path.is_file())


class _Body(ABC):
    """Writes the rows to a temporary file first, because the header is only known after the last row."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._parents = parents_made(Path(os.path.realpath(output)))
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> Self:
        folder = None
        if not _is_device(self._output):
            folder = Path(os.path.realpath(self._output)).parent
        with naming(self._output):
            self._parents.__enter__()
            self._stream = TemporaryFile(dir=folder, buffering=COPIED)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with naming(self._output):
            self.stream.close()
        self._parents.__exit__(kind, error, trace)

    @property
    def stream(self) -> IO[bytes]:
        assert self._stream is not None, "entered"
        return self._stream

    @abstractmethod
    def add(self, samples: Sequence[_Sample]) -> None:
        """Appends samples."""

    @abstractmethod
    def finish(self, header: bytes) -> None:
        """Writes the file."""

    def move(self, first: bytes = b"") -> None:
        """Writes `first` and the rows to the output, atomically."""
        with whole_file(self._output) as whole:
            whole.write(first)
            self.stream.seek(0)
            shutil.copyfileobj(self.stream, whole, COPIED)


class _JsonLines(_Body):
    """Writes one JSON line a sample."""

    def __init__(self, output: Path) -> None:
        super().__init__(output)
        self._texts = _Texts()

    def add(self, samples: Sequence[_Sample]) -> None:
        with naming(self._output):
            self.stream.writelines(map(self._line, samples))

    def finish(self, header: bytes) -> None:
        self.move(header + b"\n")

    def _line(self, sample: _Sample) -> bytes:
        ids = ",".join(map(self._texts.__getitem__, sample.ids))
        # Digits at even positions, commas at odd positions: "0,1,1".
        mask = bytearray(b",") * (2 * len(sample.mask) - 1)
        mask[::2] = sample.mask.translate(_DIGITS)
        parts = "" if sample.parts is None else f',"parts":[{",".join(map(str, sample.parts))}]'
        row = sample.digest[:PREFIX_BYTES].hex()
        name, digits = _quote(sample.id), mask.decode("ascii")
        return f'{{"id":{name},"input_ids":[{ids}],"mask":[{digits}]{parts},"row":"{row}"}}\n'.encode()


class _Texts(dict[int, str]):
    """A cache of the ids' decimal texts. A look-up takes half the time of formatting."""

    def __missing__(self, number: int) -> str:
        self[number] = text = str(number)
        return text


class _Parquet(_Body):
    """Writes Parquet with row groups of `GROUP_TOKENS`."""

    def __init__(self, output: Path, arrow: Any, parquet: Any) -> None:
        super().__init__(output)
        self._arrow, self._parquet = arrow, parquet
        self._writer: Any = None
        self._waiting: list[_Sample] = []
        self._tokens = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._writer is not None:
                with naming(self._output):
                    self._writer.close()
        finally:
            super().__exit__(kind, error, trace)

    def add(self, samples: Sequence[_Sample]) -> None:
        for sample in samples:
            self._waiting.append(sample)
            self._tokens += len(sample.ids)
            if self._tokens >= GROUP_TOKENS:
                self._write()

    def finish(self, header: bytes) -> None:
        self._write()
        with naming(self._output):
            self._writer.add_key_value_metadata({METADATA_KEY: header.decode()})
            self._writer.close()
        self.move()

    def _write(self) -> None:
        """Writes the waiting samples as a row group."""
        samples, arrow = self._waiting, self._arrow
        if not samples:
            return
        columns = {
            "id": arrow.array([sample.id for sample in samples], arrow.string()),
            "input_ids": self._lists([sample.ids for sample in samples], arrow.int32()),
            "mask": self._lists([sample.mask for sample in samples], arrow.int8()),
        }
        if samples[0].parts is not None:  # all rows have the form of the first row
            columns["parts"] = arrow.array([sample.parts for sample in samples], arrow.list_(arrow.int32()))
        columns["row"] = arrow.array([sample.digest[:PREFIX_BYTES].hex() for sample in samples], arrow.string())
        table = arrow.table(columns)
        with naming(self._output):
            if self._writer is None:
                self._writer = self._parquet.ParquetWriter(
                    self.stream, table.schema, compression="zstd", store_schema=False
                )
            self._writer.write_table(table, row_group_size=len(samples))
        self._waiting, self._tokens = [], 0

    def _lists(self, columns: "Sequence[Ids | bytearray]", kind: Any) -> Any:
        """Builds a list column from one flat buffer and the offsets of its lists."""
        ends = np.cumsum([0, *map(len, columns)], dtype=np.int32)
        flat = np.frombuffer(b"".join(columns), dtype=kind.to_pandas_dtype())
        return self._arrow.ListArray.from_arrays(ends, self._arrow.array(flat, kind))
