"""The rows that a plan asks for and those that a loader gives, compared token by token."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.plan import BatchPlan, Row, Segment
from lazarus_plan.shard import assign

FIELDS = ("input_ids", "position_ids", "segment_ids", "labels")
"""Arrays of a batch that are compared."""
IGNORED = -100
"""Label where nothing is predicted."""
SHOWN = 5
"""Names, samples or places in one message."""

Tokens = Sequence[Sequence[int]]
"""Token ids, or masks, of every sample by its number in the plan."""


class PlannedRow(NamedTuple):
    """A row as the plan has it."""

    number: int
    row: Row
    values: dict[str, NDArray[np.int64]]


class GivenRow(NamedTuple):
    """A row as a loader gave it, and where."""

    rank: int
    world_size: int
    number: int
    place: str
    values: dict[str, NDArray[np.int64]]


class PlannedRows:
    """The content of every row of a plan."""

    def __init__(
        self, plan: BatchPlan, tokens: Tokens, masks: Tokens | None, fields: Collection[str], pad_id: int
    ) -> None:
        unknown = sorted(set(fields) - set(FIELDS))
        assert not unknown and "input_ids" in fields, f"`fields` are `input_ids` and more of {FIELDS}: {tuple(fields)}"
        last = int(plan.sample.max(initial=-1))
        for name, columns in (("tokens", tokens), ("masks", masks)):
            assert columns is None or last < len(columns), (
                f"`{name}` has {many(len(columns), 'sample')}, the plan has a sample {last}"
            )
        self.plan, self.tokens, self._masks, self._pad_id = plan, tokens, masks, pad_id
        self.fields = tuple(name for name in FIELDS if name in fields)
        self._steps: dict[int, list[PlannedRow]] = {}

    def step(self, index: int) -> list[PlannedRow]:
        """The rows of one step."""
        if index not in self._steps:
            step = self.plan.step(index)
            self._steps[index] = [
                PlannedRow(number, row, self._values(row, step.row_len)) for number, row in enumerate(step.rows)
            ]
        return self._steps[index]

    def ids(self, segment: Segment) -> NDArray[np.int64]:
        """Token ids of a segment."""
        return self._piece(self.tokens, segment, "tokens")

    def place(self, number: int) -> str:
        """The first token that has an id, in words; empty where none has."""
        for sample, ids in enumerate(self.tokens):
            if number in ids:
                return f" (token {list(ids).index(number)} of sample {sample})"
        return ""

    @property
    def padding(self) -> dict[str, int]:
        """Value of each array in padding."""
        return {name: {"input_ids": self._pad_id, "labels": IGNORED}.get(name, 0) for name in FIELDS}

    def _values(self, row: Row, row_len: int) -> dict[str, NDArray[np.int64]]:
        values = {name: np.full(row_len, value, dtype=np.int64) for name, value in self.padding.items()}
        for number, segment in enumerate(row.segments, 1):
            where = slice(segment.start, segment.end)
            ids = self.ids(segment)
            labels = ids if self._masks is None else np.where(self._piece(self._masks, segment, "masks"), ids, IGNORED)
            values["input_ids"][where] = ids
            values["position_ids"][where] = np.arange(len(ids))
            values["segment_ids"][where] = number
            values["labels"][where] = labels
            values["labels"][segment.start] = IGNORED  # no earlier token of the segment predicts it
        return {name: values[name] for name in self.fields}

    def _piece(self, columns: Tokens, segment: Segment, name: str) -> NDArray[np.int64]:
        size = segment.end - segment.start
        first, end = segment.span or (0, size)
        column = columns[segment.sample]
        assert end <= len(column), (
            f"`{name}` of sample {segment.sample} has {many(len(column), 'value')}, the plan places {first} to {end}"
        )
        return np.asarray(column[first:end], dtype=np.int64)


def micro_batches(step: Any) -> Sequence[Mapping[str, Any]]:
    """The micro-batches of what a rank has of a step."""
    return [cast("Mapping[str, Any]", step)] if isinstance(step, Mapping) else list(step)


def given_rows(shares: Sequence[Any], index: int, fields: Sequence[str], words: str = "") -> Iterator[GivenRow]:
    """The rows of one step, rank by rank.

    Args:
        shares: What each rank has of the step: a batch, or micro-batches.
        index: Number of the step, for messages.
        fields: Arrays that the batches have.
        words: Beginning of messages.
    """
    for rank, share in enumerate(shares):
        number = 0
        for batch, arrays in enumerate(micro_batches(share)):
            place = f"{words}step {index}, rank {rank} of {len(shares)}, micro-batch {batch}"
            values = {name: _array(arrays, name, place) for name in fields}
            shapes = {name: array.shape for name, array in values.items()}
            assert len(set(shapes.values())) == 1, f"{place}: the arrays have different shapes: {shapes}"
            for row in range(len(values["input_ids"])):
                own = {name: array[row] for name, array in values.items()}
                yield GivenRow(rank, len(shares), number, f"{place}, row {row}", own)
                number += 1


def _array(batch: Mapping[str, Any], name: str, place: str) -> NDArray[np.int64]:
    """An array (rows, row_len) of a batch; (0, 0) where it is empty."""
    assert name in batch, f"{place}: the batch has no `{name}`; name in `fields` the arrays that your loader has"
    try:
        array = np.asarray(batch[name])
    except ValueError as error:
        raise AssertionError(f"{place}: `{name}` has rows of different lengths") from error
    if not array.size:
        return np.zeros((0, 0), dtype=np.int64)
    assert array.ndim == 2, f"{place}: `{name}` has the shape {array.shape}, not (rows, row_len)"
    assert array.dtype.kind in "iub", f"{place}: `{name}` has the type {array.dtype}, not integers"
    return array.astype(np.int64)


def compare_step(due: PlannedRows, index: int, shares: Sequence[Any], words: str = "") -> None:
    """Compares the rows that all ranks have of one step with the plan's: each has to be there once, in any order.

    Args:
        due: The plan's rows.
        index: Number of the step.
        shares: What each rank has of the step: a batch, or micro-batches.
        words: Beginning of messages.

    Raises:
        AssertionError: A row is missing, or there is another one.
    """
    left = {row.number: row for row in due.step(index)}
    padding = due.padding
    by_content: dict[bytes, list[int]] = {}
    for number, row in left.items():
        by_content.setdefault(_key(row.values), []).append(number)
    others: list[GivenRow] = []
    for row in given_rows(shares, index, due.fields, words):
        if numbers := by_content.get(_key(row.values)):
            del left[numbers.pop()]
        elif any((array != padding[name]).any() for name, array in row.values.items()):
            others.append(row)
    if others:
        _refuse(due, index, others[0], left)
    for row in left.values():
        raise AssertionError(
            f"{words}step {index}: none of {many(len(shares), 'rank')} has row {row.number} of the plan ({_samples(row.row)})"
        )


def _refuse(due: PlannedRows, index: int, given: GivenRow, left: Mapping[int, PlannedRow]) -> None:
    """Says where a row that is none of the plan's differs from the one that is meant."""
    if not left:
        number = int(given.values["input_ids"][0])
        raise AssertionError(
            f"{given.place}: all rows of the step were there before this one, which begins with {number}"
            f"{due.place(number)}"
        )
    positions = assign(due.plan.step(index).rows, given.world_size)[given.rank]
    at = positions[given.number] if given.number < len(positions) else -1
    meant = left[at] if at in left else max(left.values(), key=lambda row: _equal_ids(row, given))
    sizes = len(meant.values["input_ids"]), len(given.values["input_ids"])
    assert sizes[0] == sizes[1], f"{given.place} has {sizes[1]} tokens, the plan's rows of this step have {sizes[0]}"
    for name in due.fields:
        wrong = np.flatnonzero(meant.values[name] != given.values[name])
        if len(wrong):
            token = int(wrong[0])
            found, planned = int(given.values[name][token]), int(meant.values[name][token])
            owner = due.place(found) if name == "input_ids" else ""
            raise AssertionError(
                f"{given.place}, token {token}: `{name}` is {found}{owner}, the plan has {planned} "
                f"({_owner(meant.row, token)}; row {meant.number} of the plan)"
            )


def _equal_ids(row: PlannedRow, given: GivenRow) -> int:
    ours, theirs = row.values["input_ids"], given.values["input_ids"]
    return int((ours == theirs).sum()) if len(ours) == len(theirs) else -1


def _owner(row: Row, token: int) -> str:
    """Whose token of a row this is."""
    for segment in row.segments:
        if segment.start <= token < segment.end:
            return f"token {token - segment.start + (segment.span or (0,))[0]} of sample {segment.sample}"
    return "padding"


def _samples(row: Row) -> str:
    names = [str(segment.sample) for segment in row.segments]
    more = ", .." if len(names) > SHOWN else ""
    return f"sample{'s' if len(names) > 1 else ''} {', '.join(names[:SHOWN])}{more}"


def many(count: int, one: str, several: str = "") -> str:
    """A count with its noun.

    Args:
        count: How many.
        one: The noun in the singular.
        several: Its plural; by default with an `s`.
    """
    return f"{count} {one if count == 1 else several or one + 's'}"


def _key(values: Mapping[str, NDArray[np.int64]]) -> bytes:
    return b"".join(array.tobytes() for array in values.values())
