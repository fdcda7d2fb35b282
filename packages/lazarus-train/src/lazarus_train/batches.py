"""Rows of the plan to arrays. Decides nothing; refuses when a sample is not as long as the plan says.

R = rows, T = row_len
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from lazarus_models.backend import mx
from lazarus_plan import Row, StalePlan, row_digest
from lazarus_train.dataset import Dataset

PADDING = 0
"""Segment id of padding; segments count from 1."""


@dataclass(frozen=True)
class Batch:
    """Rows that are computed together.

    Args:
        ids: Token ids; padding is id 0.
        segment_ids: 1, 2, .. for the segments of a row, 0 for padding.
        is_label: Whether a token is predicted from the one before it, and counts.
    """

    ids: Int[mx.array, "R T"]
    segment_ids: Int[mx.array, "R T"]
    is_label: Bool[mx.array, "R T"]


def make_batch(rows: Sequence[Row], dataset: Dataset, row_len: int) -> Batch:
    """The arrays of some rows.

    The first token of a segment is no label: nothing of its own sample stands before it.

    Raises:
        StalePlan: A sample's length is not the plan's.
    """
    shape = (len(rows), row_len)
    ids = np.zeros(shape, dtype=np.int32)
    segment_ids = np.full(shape, PADDING, dtype=np.int32)
    is_label = np.zeros(shape, dtype=np.bool_)
    for place, row in enumerate(rows):
        for number, segment in enumerate(row.segments, 1):
            sample_ids, loss_mask = dataset.sample(segment.sample, segment.span)
            where = slice(segment.start, segment.end)
            if len(sample_ids) != segment.end - segment.start:
                raise StalePlan(
                    f"sample {segment.sample} has {len(sample_ids)} tokens where the plan places "
                    f"{segment.end - segment.start}; build lengths and plan again",
                    "LP-E130",
                )
            ids[place, where] = sample_ids
            segment_ids[place, where] = number
            is_label[place, segment.start + 1 : segment.end] = loss_mask[1:]
    return Batch(*map(_array, (ids, segment_ids, is_label)))


def _array(values: Any) -> mx.array:
    return mx.array(values)  # any dtype: the stub knows no numpy booleans


def label_count(rows: Sequence[Row], dataset: Dataset) -> int:
    """Tokens that carry loss in some rows: the denominator of a step, the same for every world size."""
    return sum(
        int(dataset.sample(segment.sample, segment.span)[1][1:].sum()) for row in rows for segment in row.segments
    )


def row_digests(rows: Sequence[Row], dataset: Dataset) -> list[bytes]:
    """What the audit log keeps of each row."""
    return [row_digest([dataset.sample(segment.sample, segment.span)[0] for segment in row.segments]) for row in rows]
