"""Converts rows of the plan to arrays. Refuses a sample whose length differs from the plan.

R = rows, T = row_len, L = labels

A segment of the plan is a sample. A sample of several parts, such as a chosen and a rejected answer, is as long as
its parts together. The parts are adjacent, and each is a segment of its own for the model.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from lazarus_models.backend import mx
from lazarus_plan.audit import row_digest
from lazarus_plan.errors import StalePlan
from lazarus_plan.plan import Row
from lazarus_train.data.dataset import Dataset

PADDING = 0
"""Segment id of padding; segments count from 1."""


class Part(NamedTuple):
    """The position of a sample, or of one of its parts, in a batch.

    Args:
        sample: Sample id in the data.
        row: Row in the batch.
        start: First token in the row.
        end: One past the last token.
        labels: Number of label tokens.
        answer: First label token in the row; `end` if there is none.
        side: Part of the sample: 0, or 1 for a rejected answer.
    """

    sample: int
    row: int
    start: int
    end: int
    labels: int
    answer: int
    side: int = 0


@dataclass(frozen=True)
class Batch:
    """Rows that are computed together.

    Args:
        ids: Token ids; padding is id 0.
        segment_ids: 1, 2, .. for the parts of a row, 0 for padding.
        is_label: Whether a token counts in the loss and is predicted from the preceding tokens.
        places: Positions of the labels in the flattened rows.
        parts: Positions of the parts, in the order of rows and tokens.
        numbers: Index of each row in its step.
        step_rows: Rows of the whole step.
        random_inputs: Random inputs of these rows, and statistics of their step, by name.
    """

    ids: Int[mx.array, "R T"]
    segment_ids: Int[mx.array, "R T"]
    is_label: Bool[mx.array, "R T"]
    places: Int[mx.array, " L"]
    parts: tuple[Part, ...]
    numbers: tuple[int, ...]
    step_rows: int
    random_inputs: Mapping[str, mx.array] = field(default_factory=dict[str, mx.array])


def make_batch(rows: Sequence[Row], dataset: Dataset, row_len: int, step_rows: int | None = None) -> Batch:
    """The arrays of some rows.

    The first token of a part is not a label: no token of the part comes before it.

    Args:
        rows: Rows of the plan.
        dataset: Samples of the rows.
        row_len: Tokens per row.
        step_rows: Rows of the whole step; None if these are all.

    Raises:
        StalePlan: A sample's length differs from the plan.
    """
    shape = (len(rows), row_len)
    ids = np.zeros(shape, dtype=np.int32)
    segment_ids = np.full(shape, PADDING, dtype=np.int32)
    is_label = np.zeros(shape, dtype=np.bool_)
    parts: list[Part] = []
    for place, row in enumerate(rows):
        # Segment ids count from 1 in each row; 0 stays padding.
        number = 0
        for segment in row.segments:
            sample_ids, loss_mask = dataset.sample(segment.sample, segment.span)
            if len(sample_ids) != segment.end - segment.start:
                raise StalePlan(
                    f"sample {segment.sample} has {len(sample_ids)} tokens where the plan places "
                    f"{segment.end - segment.start}; build lengths and plan again",
                    "LP-E130",
                )
            # Rows start as zeros, so only real tokens are written.
            ids[place, segment.start : segment.end] = sample_ids
            is_label[place, segment.start : segment.end] = loss_mask
            start = segment.start
            for side, length in enumerate(dataset.part_lengths(segment.sample) or (len(sample_ids),)):
                number += 1
                end = start + length
                segment_ids[place, start:end] = number
                # A slice: nothing happens for an empty part.
                is_label[place, start : start + 1] = False
                labels = np.flatnonzero(is_label[place, start:end])
                # Position of the first label in the row.
                answer = start + int(labels[0]) if len(labels) else end
                parts.append(Part(segment.sample, place, start, end, len(labels), answer, side))
                start = end
    # Row-major order: by row, then by token, as the losses expect.
    places = np.flatnonzero(is_label).astype(np.int32)
    return Batch(
        *(_array(ids), _array(segment_ids), _array(is_label), _array(places)),
        parts=tuple(parts),
        numbers=tuple(row.number for row in rows),
        step_rows=len(rows) if step_rows is None else step_rows,
    )


def _array(values: Any) -> mx.array:
    return mx.array(values)  # any dtype: the stub knows no numpy booleans


def row_digests(rows: Sequence[Row], dataset: Dataset) -> list[bytes]:
    """Digest of each row for the audit log.

    Args:
        rows: Rows of the plan.
        dataset: Samples of the rows.
    """
    return [row_digest([dataset.sample(segment.sample, segment.span)[0] for segment in row.segments]) for row in rows]
