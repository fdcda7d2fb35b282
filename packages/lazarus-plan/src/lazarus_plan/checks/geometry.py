"""Check the ranges of steps: in order, disjoint, inside one row, with correct sums."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.findings import Finding, at_step
from lazarus_plan.format.step_codec import Columns
from lazarus_plan.plan import WHOLE, Metadata


def check_geometry(columns: Columns, metadata: Metadata, first_step: int) -> Iterator[Finding]:
    """Check a block of steps.

    Args:
        columns: The steps.
        metadata: Metadata of the plan.
        first_step: Number of the first step, by its position in the file.
    """
    empty = np.flatnonzero(columns.sizes == 0)
    for at in empty.tolist():
        yield at_step("LP-E110", first_step + at, "a step without samples")
    row_len_problem = _row_lens(columns, metadata)
    yield from (at_step("LP-E110", first_step + at, text) for at, text in row_len_problem)
    if len(empty) or row_len_problem:
        return
    # Step of each range, to look up values of its step.
    step = np.repeat(np.arange(len(columns.sizes)), columns.sizes)
    for code, where, what in _range_problems(columns, metadata, step, first_step):
        for place in np.flatnonzero(where).tolist():
            yield at_step(
                code,
                first_step + int(step[place]),
                f"the range [{columns.start[place]},{columns.end[place]}] of sample {columns.sample[place]} {what}",
            )
    length = columns.end - columns.start
    # Sums per step; no step is empty here, as reduceat requires.
    tokens = np.add.reduceat(length, np.cumsum(columns.sizes) - columns.sizes)
    for at in np.flatnonzero(tokens != columns.tokens).tolist():
        problem = f"`tokens` is {columns.tokens[at]}, the ranges add up to {tokens[at]}"
        yield at_step("LP-E110", first_step + at, problem)
    is_odd = (columns.span_start != WHOLE) & (columns.span_end - columns.span_start != length)
    for place in np.flatnonzero(is_odd).tolist():
        span, ranged = (
            f"[{a[place]},{b[place]}]"
            for a, b in ((columns.span_start, columns.span_end), (columns.start, columns.end))
        )
        yield at_step("LP-E110", first_step + int(step[place]), f"span {span} and range {ranged} differ in size")


def _row_lens(columns: Columns, metadata: Metadata) -> list[tuple[int, str]]:
    config = metadata.config
    if config.shares_rows:
        return [
            (int(at), f"`row_len` must be absent in a plan of mode {config.mode}")
            for at in np.flatnonzero(columns.row_lens)
        ]
    limit = config.resolved_row_len
    is_odd = (columns.row_lens < 1) | (columns.row_lens > limit)
    if config.mode == "bucketed":
        is_odd |= ~np.isin(columns.row_lens, config.bucket_edges)
    return [(int(at), f"`row_len` is {columns.row_lens[at]}, of {limit} at most") for at in np.flatnonzero(is_odd)]


def _range_problems(
    columns: Columns, metadata: Metadata, step: NDArray[np.int64], first_step: int
) -> list[tuple[str, NDArray[np.bool_], str]]:
    config = metadata.config
    lens = np.where(columns.row_lens > 0, columns.row_lens, config.resolved_row_len)
    # Steps repeated from a parent plan keep the parent's budget.
    budget = np.full(len(lens), config.token_budget)
    if metadata.parent is not None:
        budget[: max(0, metadata.parent.steps - first_step)] = metadata.parent.token_budget
    # Whole rows only: a budget that is no multiple of the row length leaves the rest unused.
    row_len, room = lens[step], (budget // lens * lens)[step]
    start, end = columns.start, columns.end
    # Offset within the row.
    place = start % row_len
    # Ranges of a step must be in order: compare each with the end of the one before, the first with 0.
    is_next = np.concatenate([[False], step[1:] == step[:-1]])
    previous_end = np.where(is_next, np.concatenate([[0], end[:-1]]), 0)
    # With one sample per row, each range starts at a multiple of the row length: its offset is 0.
    alignment = config.align if config.shares_rows else row_len
    return [
        ("LP-E108", start >= end, "is empty or reversed"),
        ("LP-E108", start < previous_end, "overlaps the one before it"),
        ("LP-E109", place + (end - start) > row_len, "straddles two rows"),
        ("LP-E109", end > room, "lies beyond the step's rows"),
        ("LP-E109", place % alignment != 0, "does not begin where alignment or mode put it"),
    ]
