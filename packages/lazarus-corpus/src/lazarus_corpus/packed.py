"""Exports the packed rows of a plan for other trainers: Parquet, numpy arrays, or Megatron's indexed data set.

T = tokens a row, S = samples. The ids lie in a temporary file, 5 bytes a token; memory grows with the samples, not with their tokens.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lazarus_core.atomic import whole_folder
from lazarus_core.outputs import OutputKind, check_names, check_output, whole_output
from lazarus_corpus.errors import SettingError
from lazarus_corpus.megatron import write_megatron
from lazarus_plan import BatchPlan, LengthCache, LengthRow
from lazarus_plan.checks import check_lengths
from lazarus_plan.numbering import Numbering

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lazarus_plan.plan import Row, Step
    from lazarus_tokenkit import Encoder, FieldNames

COLUMNS = ("input_ids", "segment_ids", "position_ids", "loss_mask")
ARRAYS = (*(f"{name}.npy" for name in COLUMNS), "places.npy", "packed.json")
"""Files of the folder with numpy arrays."""
PARQUET, INDEX = ".parquet", ".idx"
KIND = OutputKind("packed rows", code="LD-E131")
_GROUP = 256
"""Rows of a row group."""


class PackedRow(NamedTuple):
    """A row of the plan with its tokens, as lazarus-train computes it.

    Args:
        step: 0-based step.
        row: 0-based row of the step.
        input_ids: Token ids; padding is 0. int32 (T,).
        segment_ids: 1, 2, .. for the samples of the row, 0 for padding. int32 (T,).
        position_ids: Position in the sample's part, from 0; 0 for padding. int32 (T,).
        loss_mask: 1 for tokens that are predicted and carry loss. uint8 (T,).
    """

    step: int
    row: int
    input_ids: "NDArray[np.int32]"
    segment_ids: "NDArray[np.int32]"
    position_ids: "NDArray[np.int32]"
    loss_mask: "NDArray[np.uint8]"


class _Encoded:
    """The encoded samples of all sources, with their ids on disk.

    Args:
        ids: File for token ids.
        masks: File for loss masks.
    """

    def __init__(self, ids: IO[bytes], masks: IO[bytes]) -> None:
        self._ids, self._masks = ids, masks
        self.splits = [0]
        self.parts: dict[int, tuple[int, ...]] = {}

    def add(self, path: Path, encoder: "Encoder", fields: "FieldNames | None") -> LengthCache:
        """Encodes a source and returns its lengths.

        Args:
            path: Its data file.
            encoder: Tokenizer and template of the plan.
            fields: Names of the fields of its rows.
        """
        from lazarus_tokenkit import encode_rows, source_header

        rows: list[LengthRow] = []
        digests: list[bytes] = []
        for row in encode_rows(path, encoder, fields):
            self._ids.write(np.array(row.ids, "<i4").tobytes())
            self._masks.write(bytes(row.loss_mask))
            if row.parts is not None:
                self.parts[len(self.splits) - 1] = row.parts
            self.splits.append(self.splits[-1] + len(row.ids))
            rows.append(row.length_row)
            digests.append(row.row_digest)
        return LengthCache.from_rows(rows, source_header(path, encoder, digests), name=path.name)

    def sample(self, number: int, span: tuple[int, int] | None) -> "tuple[NDArray[np.int32], NDArray[np.uint8]]":
        """Ids and loss mask of a sample, or of a range of its tokens.

        Args:
            number: Its position over all sources.
            span: Half-open range; None for all.
        """
        start, end = self.splits[number], self.splits[number + 1]
        if span is not None:
            start, end = start + span[0], min(end, start + span[1])
        self._ids.seek(4 * start)
        self._masks.seek(start)
        ids = np.frombuffer(self._ids.read(4 * (end - start)), "<i4")
        return ids, np.frombuffer(self._masks.read(end - start), np.uint8)


def packed_rows(
    plan: BatchPlan, data: Sequence[Path], encoder: "Encoder", fields: "FieldNames | None" = None
) -> Iterator[PackedRow]:
    """The rows of a plan in its order, each step's rows together.

    Args:
        plan: The plan.
        data: One data file for each of its sources.
        encoder: Tokenizer and template of its lengths, see `planned_encoder`.
        fields: Names of the fields of the rows.

    Raises:
        SettingError: The number of data files is not that of the sources.
        StalePlan: Data, tokenizer, template or lengths are not those of the plan.
        TokenkitError: A row of the data is invalid.
    """
    if len(data) != len(plan.metadata.sources):
        raise SettingError(
            f"the plan has {len(plan.metadata.sources)} sources: give `data` once for each, in this order; {len(data)} given",
            "LD-E150",
        )
    with tempfile.TemporaryFile() as ids, tempfile.TemporaryFile() as masks:
        encoded = _Encoded(ids, masks)
        for number, path in enumerate(data):
            check_lengths(plan, encoded.add(path, encoder, fields), number, first_line=1, is_measured=True)
        numbering = Numbering.of_plan(plan.metadata)
        for index in range(len(plan)):
            step = plan.step(index)
            for row in step.rows:
                yield _packed(step, row, encoded, numbering.indices([each.sample for each in row.segments]))


def _packed(step: "Step", row: "Row", encoded: _Encoded, places: Sequence[int]) -> PackedRow:
    """A row of a step. `places` are the positions of its samples over all sources."""
    ids, segments, positions = (np.zeros(step.row_len, np.int32) for _ in range(3))
    mask = np.zeros(step.row_len, np.uint8)
    number = 0
    for segment, place in zip(row.segments, places, strict=True):
        sample, has_loss = encoded.sample(place, segment.span)
        ids[segment.start : segment.end], mask[segment.start : segment.end] = sample, has_loss
        start = segment.start
        for length in encoded.parts.get(place, (len(sample),)):
            number += 1
            segments[start : start + length] = number
            positions[start : start + length] = np.arange(length)
            mask[start : start + 1] = 0  # no token of the part comes before its first one
            start += length
    return PackedRow(step.index, row.number, ids, segments, positions, mask)


def planned_encoder(plan: BatchPlan, tokenizer: str, template: str | None = None) -> "Encoder":
    """The encoder of a plan's lengths.

    Args:
        plan: The plan; it names template and date.
        tokenizer: Name or path of the tokenizer.
        template: Another place of the template; None for the recorded one.
    """
    from lazarus_tokenkit import Encoder, load_tokenizer

    pinned = {name: value for name, value in plan.encoding.items() if name == "pinned_date"}
    return Encoder(load_tokenizer(tokenizer), template=template or plan.encoding.get("template"), **pinned)


def export_packed(
    plan: BatchPlan,
    data: Sequence[Path],
    encoder: "Encoder",
    output: Path,
    fields: "FieldNames | None" = None,
    *,
    force: bool = False,
) -> int:
    """Writes the packed rows of a plan, and returns their number.

    Args:
        plan: The plan.
        data: One data file for each of its sources.
        encoder: Tokenizer and template of its lengths.
        output: `NAME.parquet`; `NAME.idx` for Megatron's `NAME.idx` and `NAME.bin`, a document a row and a sequence a sample,
            without padding; another name for a folder of numpy arrays, (rows, T).
        fields: Names of the fields of the rows.
        force: Replace files of another kind.

    Raises:
        SettingError: pyarrow is missing, or tokens without loss cannot be written to Megatron's files.
        StalePlan: Data, tokenizer, template or lengths are not those of the plan.
        OutputTaken: The output would replace other files.
    """
    rows = packed_rows(plan, data, encoder, fields)
    about = {"plan_id": plan.plan_id, "tokenizer": f"sha256:{encoder.fingerprint.fingerprint}", "row_len": plan.row_len}
    if output.suffix == PARQUET:
        return _write_parquet(rows, output, about, data, force)
    if output.suffix == INDEX:
        for path in (output, output.with_suffix(".bin")):
            check_output(path, KIND, inputs=data, force=force)
        return write_megatron(output.with_suffix(""), map(_sequences, rows), encoder.tokenizer.vocab_size)[1]
    check_names(output, ARRAYS, "packed rows", code="LD-E130")
    return _write_arrays(rows, sum(len(plan.step(index).rows) for index in range(len(plan))), output, about)


def _sequences(row: PackedRow) -> list[list[int]]:
    """The samples of a row. Megatron's files have no loss mask."""
    place = np.flatnonzero((row.loss_mask == 0) & (row.position_ids > 0))
    if len(place):
        raise SettingError(
            f"step {row.step}, row {row.row}: token {int(place[0])} carries no loss, and Megatron's files have no loss mask:"
            " write Parquet or arrays",
            "LD-E151",
        )
    return [row.input_ids[row.segment_ids == number].tolist() for number in range(1, int(row.segment_ids.max()) + 1)]


def _write_parquet(
    rows: Iterator[PackedRow], output: Path, about: dict[str, Any], data: Sequence[Path], force: bool
) -> int:
    try:
        arrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise SettingError(
            f"{output}: to write Parquet, install lazarus-tokenkit[parquet], or write arrays", "LD-E151"
        ) from error
    lists = [(name, arrow.list_(arrow.int8() if name == "loss_mask" else arrow.int32())) for name in COLUMNS]
    schema = arrow.schema([("step", arrow.int64()), ("row", arrow.int64()), *lists])
    count = 0
    with (
        whole_output(output, KIND, inputs=data, force=force) as stream,
        parquet.ParquetWriter(stream, schema, compression="zstd", store_schema=False) as writer,
    ):
        while group := list(islice(rows, _GROUP)):
            columns = {name: [getattr(row, name) for row in group] for name in ("step", "row", *COLUMNS)}
            writer.write_table(arrow.table(columns, schema=schema))
            count += len(group)
        writer.add_key_value_metadata({"lazarus": json.dumps(about)})
    return count


def _write_arrays(rows: Iterator[PackedRow], count: int, output: Path, about: dict[str, Any]) -> int:
    with whole_folder(output) as made:
        size = int(about["row_len"])
        kinds = {name: "|u1" if name == "loss_mask" else "<i4" for name in COLUMNS}
        streams = {name: (made / f"{name}.npy").open("wb") for name in COLUMNS}
        for name, stream in streams.items():
            header = {"descr": kinds[name], "fortran_order": False, "shape": (count, size)}
            np.lib.format.write_array_header_1_0(stream, header)
        places: list[tuple[int, int]] = []
        for row in rows:
            for name, stream in streams.items():
                values = np.zeros(size, kinds[name])  # the rows of a step may be shorter
                values[: len(row.input_ids)] = getattr(row, name)
                stream.write(values.tobytes())
            places.append((row.step, row.row))
        for stream in streams.values():
            stream.close()
        np.save(made / "places.npy", np.array(places, "<i8").reshape(-1, 2))
        (made / "packed.json").write_text(json.dumps({**about, "rows": count}, indent=2) + "\n", "utf-8")
    return count
