"""The encoded rows of a run, with the digests that identify them.

N = samples. Token ids of all samples are concatenated in one array: 5 bytes per token with the mask, for any number
of samples.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lazarus_plan import LengthCache, LengthRow
from lazarus_tokenkit import Encoder, FieldNames, encode_rows, source_header
from lazarus_train.config import TrainConfig


@dataclass(frozen=True)
class Dataset:
    """Encoded rows.

    Args:
        lengths: Length, digests and header, as in a length cache of the same rows.
        ids: Token ids of all samples, concatenated, int32.
        loss_mask: Whether each token, as a label, carries loss.
        splits: Sample i is ids[splits[i]:splits[i + 1]], int64 (N + 1,).
        parts: Token counts of the parts of samples with several parts, by sample id.
        files: Name, number of samples and first row of each part of a file, in the order of the samples.
        loss_bytes: UTF-8 bytes of all texts that carry loss, as in the data.
        labels: Whether an answer is desirable, by sample id, if its row has a label.
        is_text: Whether the first sample is a text instead of a conversation.
    """

    lengths: LengthCache
    ids: NDArray[np.int32]
    loss_mask: NDArray[np.bool_]
    splits: NDArray[np.int64]
    parts: Mapping[int, tuple[int, ...]] = field(default_factory=dict[int, tuple[int, ...]])
    files: tuple[tuple[str, int, int], ...] = ()
    loss_bytes: int = 0
    labels: Mapping[int, bool] = field(default_factory=dict[int, bool])
    is_text: bool = False

    def __len__(self) -> int:
        return len(self.lengths)

    def sample(self, index: int, span: tuple[int, int] | None = None) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Ids and loss mask of one sample, or of a token range of it.

        Args:
            index: Sample id.
            span: Half-open token range; None takes the whole sample.
        """
        start, end = int(self.splits[index]), int(self.splits[index + 1])
        if span is not None:
            start, end = start + span[0], min(end, start + span[1])
        return self.ids[start:end], self.loss_mask[start:end]

    @property
    def longest(self) -> int:
        """Tokens of the longest sample, or of its longest part if it has several."""
        return max(
            int(self.lengths.length.max()) if not self.parts else 0, *(max(each) for each in self.parts.values()), 0
        )

    def place(self, index: int) -> str:
        """File and index of a sample, for messages; the index counts from 0."""
        for name, count, first in self.files:
            if index < count:
                return f"sample {first + index} of {name}"
            index -= count
        return f"sample {index}"

    def part_lengths(self, index: int) -> tuple[int, ...] | None:
        """Tokens of each part of a sample, such as chosen and rejected; None if it has one part."""
        return self.parts.get(index)

    @classmethod
    def joined(cls, sources: "Sequence[Dataset]", ranges: Sequence[tuple[int, int]] | None = None) -> "Dataset":
        """The samples of several sources, in the order of a plan's sample numbers.

        Args:
            sources: One dataset for each source of the plan.
            ranges: The plan's `numbering`: pairs of a source and a number of rows; None if the sources follow one another.
        """
        if len(sources) == 1:
            return sources[0]
        pieces = _pieces(ranges or [(number, len(source)) for number, source in enumerate(sources)])
        lengths = LengthCache.from_rows(
            LengthRow(f"{number}/{sources[number].lengths.ids[row]}", int(sources[number].lengths.length[row]))
            for number, rows in pieces
            for row in rows
        )
        tokens = [
            (sources[number], slice(*sources[number].splits[[rows.start, rows.stop]].tolist()))
            for number, rows in pieces
        ]
        places = [(sources[number], row) for number, rows in pieces for row in rows]
        return cls(
            lengths=lengths,
            ids=np.concatenate([source.ids[part] for source, part in tokens]),
            loss_mask=np.concatenate([source.loss_mask[part] for source, part in tokens]),
            splits=np.concatenate(
                [[0], np.cumsum([source.splits[row + 1] - source.splits[row] for source, row in places])]
            ),
            parts={at: source.parts[row] for at, (source, row) in enumerate(places) if row in source.parts},
            files=tuple((name, len(rows), rows.start) for number, rows in pieces for name, *_ in sources[number].files),
            loss_bytes=sum(source.loss_bytes for source in sources),
            labels={at: source.labels[row] for at, (source, row) in enumerate(places) if row in source.labels},
            is_text=all(source.is_text for source in sources),
        )


def _pieces(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, range]]:
    """Source and positions of the rows of each range."""
    begun: dict[int, int] = {}
    pieces: list[tuple[int, range]] = []
    for source, count in ranges:
        first = begun.get(source, 0)
        pieces.append((source, range(first, first + count)))
        begun[source] = first + count
    return pieces


def field_names(config: TrainConfig) -> FieldNames:
    """The fields of a row that a run reads."""
    return FieldNames(
        text=config.text_field,
        messages=config.messages_field,
        prompt=config.prompt_field,
        completion=config.completion_field,
        label=config.label_field,
    )


def read_dataset(
    path: Path, encoder: Encoder, fields: FieldNames, on_progress: Callable[[int], object] = lambda _: None
) -> Dataset:
    """Encodes a file with the same encoder that measures lengths.

    Args:
        path: JSON Lines.
        encoder: Tokenizer and template.
        fields: Names of the fields to read.
        on_progress: Called with the number of new rows.

    Raises:
        TokenkitError: A row cannot be read; the message names file and line.
    """
    ids: list[NDArray[np.int32]] = []
    masks: list[NDArray[np.bool_]] = []
    rows: list[LengthRow] = []
    digests: list[bytes] = []
    parts: dict[int, tuple[int, ...]] = {}
    labels: dict[int, bool] = {}
    loss_bytes = 0
    is_text = False
    for row in encode_rows(path, encoder, fields):
        ids.append(np.array(row.ids, dtype=np.int32))
        masks.append(np.array(row.loss_mask, dtype=np.bool_))
        is_text = is_text or (not rows and row.is_text)
        if row.parts is not None:
            parts[len(rows)] = row.parts
        if row.label is not None:
            labels[len(rows)] = row.label
        rows.append(row.length_row)
        digests.append(row.row_digest)
        loss_bytes += row.loss_bytes
        on_progress(1)
    return Dataset(
        lengths=LengthCache.from_rows(rows, source_header(path, encoder, digests), name=path.name),
        ids=np.concatenate(ids),
        loss_mask=np.concatenate(masks),
        splits=np.concatenate([[0], np.cumsum([len(sample) for sample in ids])]).astype(np.int64),
        parts=parts,
        files=((str(path), len(rows), 0),),
        loss_bytes=loss_bytes,
        labels=labels,
        is_text=is_text,
    )
