"""Data files as token ids and loss masks, for any trainer: in memory, or in a file of JSON Lines or Parquet.

Rows come in the order of the data and have the ids of `lengths build`, row by row. The first line of JSON Lines, and
the value of the schema metadata key `lazarus` of Parquet, is a header with the members of a length cache's header:

```
{"lazarus_encoded":1,"count":2,"data":"sha256:..","template":"sha256:..","tokenizer":"sha256:..","encoding":{},"parts":{}}
{"id":"a","input_ids":[464,2068],"mask":[0,1],"row":"4b5a6978"}
```

`mask` is 1 where the token, as a label, carries loss. `row` is 8 hex of the digest of the row's content, as in a length
cache. Samples of several parts, such as chosen and rejected, have their lengths in `parts`, before `row`. In Parquet
the columns are `id` string, `input_ids` list<int32>, `mask` list<int8>, `parts` list<int32> where there are any, and
`row` string.
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

from lazarus_core.atomic import naming, stream_number, whole_file
from lazarus_plan import LengthsHeader, merkle_root
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
"""Suffixes of the two forms."""
METADATA_KEY = "lazarus"
"""Key of the header in the schema metadata of a Parquet file."""
GROUP_TOKENS = 1 << 20
"""Tokens of a row group of Parquet: 5 MB in memory before compression."""
COPIED = 1 << 20
"""Bytes copied at a time."""
_DIGITS = bytes([ord("0"), ord("1")]).ljust(256, b"0")
"""Turns the bytes 0 and 1 of a mask into digits."""
_quote = json.JSONEncoder(ensure_ascii=False).encode


class EncodedSample(NamedTuple):
    """A sample for a trainer.

    Args:
        id: Its name, as in the length cache.
        ids: Token ids, int32 (n,).
        mask: Whether the token, as a label, carries loss, bool (n,).
    """

    id: str
    ids: NDArray[np.int32]
    mask: NDArray[np.bool_]


class _Sample(NamedTuple):
    """An encoded sample, with what its row states."""

    id: str
    ids: Ids
    mask: bytearray
    parts: tuple[int, ...] | None
    digest: bytes


class _Chunk(NamedTuple):
    """Rows whose ids are being made."""

    rows: list[Row]
    prepared: Prepared
    ids: Future[tuple[list[Ids], list[Ids]]]


def encode_dataset(
    paths: Paths, encoder: Encoder, fields: FieldNames | None = None, engine: EngineName = "huggingface"
) -> Iterator[EncodedSample]:
    """Encodes data files in parallel; yields (id, ids, mask) of every sample in order, in bounded memory.

    A sample of several parts has them end to end; `encode_rows` also tells their lengths.

    Args:
        paths: Data files.
        encoder: Tokenizer and template.
        fields: Names of the fields, where they are not the standard ones.
        engine: Encodes in the tokenizer's place; it must be exact on the first samples, else a warning says so.

    Raises:
        SampleError: A file or a row is wrong; the message names file, line and field.
        TemplateError: The template cannot be used, or refuses a conversation; then file and line are named.
    """
    _ = encoder.chat_template  # fails before the first row, not because of it
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
    """Writes ids and loss masks of data files; the file appears whole or not at all.

    Args:
        paths: Data files.
        encoder: Tokenizer and template.
        output: A file named `.jsonl` or `.parquet`. Streams and devices get JSON Lines.
        fields: Names of the fields, where they are not the standard ones.
        on_progress: Called with the number of samples done since the last call.
        engine: Encodes in the tokenizer's place; it must be exact on the first samples, else a warning says so.
        tally: Counts the lengths on the way.
        force: Replace a file that has no encoded samples.

    Returns:
        The header of the length cache of the same data, with the same fingerprints as the file.

    Raises:
        TokenkitError: `output` has another suffix, or Parquet cannot be written here.
        SampleError: A file or a row is wrong, or `output` is one of the data files, lies among them, or is a directory.
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
    """Chunks of encoded samples, in order."""

    def start(batch: list[Row], pool: ThreadPoolExecutor) -> _Chunk:
        with row_places_in_errors(batch, encoder):
            prepared = encoder.prepare([row.sample for row in batch])
        return _Chunk(batch, prepared, pool.submit(engines.encode, prepared))

    for chunk in in_order(rows, start, CHUNK, 1 if engines.texts.is_parallel else WORKERS):
        joined = encoder.join(chunk.prepared, *chunk.ids.result())
        samples = zip((row.sample for row in chunk.rows), joined, strict=True)
        yield [_Sample(sample.id, *each, sample.digest) for sample, each in samples]


def _header_line(header: LengthsHeader) -> bytes:
    """The members of a length cache's header, behind another first one."""
    _, _, members = header.line().rstrip(b"\n").partition(b",")
    return b"%b%d,%b" % (ENCODED_MARK, FORMAT_VERSION, members)


def _body_of(output: Path) -> "Callable[[Path], _Body]":
    """The form that a file's suffix asks for.

    Raises:
        TokenkitError: There is no such form, or Parquet cannot be written here.
    """
    if _is_device(output) or output.suffix == LINES:
        return _JsonLines
    if output.suffix != PARQUET:
        raise TokenkitError(f"{output}: name the file {LINES} or {PARQUET}; the suffix decides on the form", "LT-E320")
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise TokenkitError(
            f"{output}: to write Parquet, install lazarus-tokenkit[parquet], or name the file {LINES}", "LT-E321"
        ) from error
    return lambda path: _Parquet(path, arrow, parquet)


def _is_device(path: Path) -> bool:
    """Whether a path is an open stream or a device: nothing can lie next to it."""
    return stream_number(path) is not None or (path.exists() and not path.is_file())


class _Body(ABC):
    """Rows on their way to a file: they go to a file without a name first, since the header is known last."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> Self:
        folder = None
        if not _is_device(self._output):
            folder = Path(os.path.realpath(self._output)).parent
            folder.mkdir(parents=True, exist_ok=True)
        with naming(self._output):
            self._stream = TemporaryFile(dir=folder, buffering=COPIED)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with naming(self._output):
            self.stream.close()

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
        """Writes `first` and the rows, and puts the file in its place."""
        with whole_file(self._output) as whole:
            whole.write(first)
            self.stream.seek(0)
            shutil.copyfileobj(self.stream, whole, COPIED)


class _JsonLines(_Body):
    """One line a sample."""

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
        mask = bytearray(b",") * (2 * len(sample.mask) - 1)
        mask[::2] = sample.mask.translate(_DIGITS)
        parts = "" if sample.parts is None else f',"parts":[{",".join(map(str, sample.parts))}]'
        row = sample.digest[:PREFIX_BYTES].hex()
        name, digits = _quote(sample.id), mask.decode("ascii")
        return f'{{"id":{name},"input_ids":[{ids}],"mask":[{digits}]{parts},"row":"{row}"}}\n'.encode()


class _Texts(dict[int, str]):
    """Decimal texts of the ids that occurred: looked up in half the time that writing them out takes."""

    def __missing__(self, number: int) -> str:
        self[number] = text = str(number)
        return text


class _Parquet(_Body):
    """Columns, in row groups of `GROUP_TOKENS`."""

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
        if samples[0].parts is not None:  # the form of the first row is that of all
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
        """A column of lists, made of one flat buffer."""
        ends = np.cumsum([0, *map(len, columns)], dtype=np.int32)
        flat = np.frombuffer(b"".join(columns), dtype=kind.to_pandas_dtype())
        return self._arrow.ListArray.from_arrays(ends, self._arrow.array(flat, kind))
