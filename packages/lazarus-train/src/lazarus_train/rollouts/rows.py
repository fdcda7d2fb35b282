"""Rows of roll-outs for the training pass: prompts and answers, several in a row where the model allows it."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from lazarus_plan import LengthCache, LengthRow
from lazarus_plan.plan import Row, Segment
from lazarus_train.data.dataset import Dataset


class Sequences(NamedTuple):
    """Prompts with answers as a data set, and the rows that contain them.

    Args:
        dataset: Sample i is answer i with its prompt; its labels are the drawn tokens.
        rows: Rows of the training pass.
        row_len: Tokens of a row.
    """

    dataset: Dataset
    rows: tuple[Row, ...]
    row_len: int


def sequences(
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    is_drawn: Sequence[Sequence[bool]],
    *,
    is_packed: bool,
    row_len: int,
) -> Sequences:
    """Rows of prompts with answers: the longest first, each into the first row with room.

    Args:
        prompts: Token ids of each prompt.
        answers: Token ids after each prompt.
        is_drawn: Whether the model drew each token of the answers.
        is_packed: Whether answers share rows; otherwise each has a row of its own.
        row_len: Tokens of a row, at least the longest sequence if `is_packed`; otherwise rows are as long as the longest.
    """
    whole = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
    masks = [[False] * len(prompt) + list(drawn) for prompt, drawn in zip(prompts, is_drawn, strict=True)]
    lengths = [len(ids) for ids in whole]
    size = max(row_len, *lengths) if is_packed else max(lengths)
    bins: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(whole)), key=lambda index: (-lengths[index], index)):
        place = next((place for place, left in enumerate(room) if left >= lengths[index]), None) if is_packed else None
        if place is None:
            bins.append([])
            room.append(size)
            place = len(bins) - 1
        bins[place].append(index)
        room[place] -= lengths[index]
    rows = tuple(Row(_segments(members, lengths), number) for number, members in enumerate(bins))
    dataset = Dataset(
        lengths=LengthCache.from_rows(LengthRow(str(index), length) for index, length in enumerate(lengths)),
        ids=np.array([token for ids in whole for token in ids], dtype=np.int32),
        loss_mask=np.array([each for mask in masks for each in mask], dtype=np.bool_),
        splits=np.array([0, *accumulate(lengths)], dtype=np.int64),
    )
    return Sequences(dataset, rows, size)


def _segments(members: Sequence[int], lengths: Sequence[int]) -> tuple[Segment, ...]:
    starts = [0, *accumulate(lengths[index] for index in members)]
    return tuple(Segment(index, start, start + lengths[index]) for index, start in zip(members, starts, strict=False))
