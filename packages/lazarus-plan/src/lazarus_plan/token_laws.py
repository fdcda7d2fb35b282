"""Laws that compare a loader with a plan token by token. `lazarus_plan.testing` says which law finds which fault.

A loader is given as a function of (rank, world_size, next_step): it returns the steps of one rank from `next_step` on.
A step is one batch or a sequence of micro-batches. A batch maps names to arrays (rows, row_len) of integers: lists,
NumPy arrays or tensors. The conventions are those of the exported loaders:

- `input_ids`: token ids; `pad_id` in padding.
- `position_ids`: from 0 in every segment; 0 in padding.
- `segment_ids`: from 1 in every row; 0 in padding.
- `labels`: token ids; -100 where nothing is predicted: in padding, at the first token of a segment, and where a mask is 0.

A row of padding alone is no fault: a rank without rows takes part in a step with one.
"""

import reprlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.plan import BatchPlan, Row, Segment
from lazarus_plan.shard import assign

FIELDS = ("input_ids", "position_ids", "segment_ids", "labels")
"""Arrays of a batch that are compared."""
IGNORED = -100
"""Label where nothing is predicted."""
WORLD_SIZES = (1, 2, 3)
MAX_STOPS = 9
"""Steps at which `check_elastic_resume` stops a run, where none are given."""
_SHOWN = 5
"""Names, samples or places in one message."""

Tokens = Sequence[Sequence[int]]
Load = Callable[[int, int, int], Iterable[Any]]
"""From (rank, world_size, next_step) to the steps of that rank."""


def numbered_tokens(lengths: Iterable[int]) -> list[list[int]]:
    """Token ids for a test: every token of every sample has an id of its own, from 1 on, so that 0 can be padding.

    >>> numbered_tokens([2, 3])
    [[1, 2], [3, 4, 5]]
    """
    made: list[list[int]] = []
    first = 1
    for length in map(int, lengths):
        made.append(list(range(first, first + length)))
        first += length
    return made


def check_tokens(
    plan: BatchPlan,
    load: Load,
    tokens: Tokens,
    world_sizes: Iterable[int] = WORLD_SIZES,
    *,
    masks: Tokens | None = None,
    fields: Collection[str] = FIELDS,
    pad_id: int = 0,
) -> None:
    """The token law: for every world size, the ranks share the rows of every step, with the plan's content in each place.

    Ids, labels, positions, segments and padding are compared. Rows may be dealt to the ranks in any way.

    Args:
        plan: The plan that the loader follows.
        load: From (rank, world_size, next_step) to the steps of that rank.
        tokens: Token ids of every sample, by its number in the plan; `numbered_tokens` finds most.
        world_sizes: Numbers of ranks to try.
        masks: 1 where a token is predicted, as long as `tokens`; without, all tokens are.
        fields: Arrays that the loader's batches have, of `FIELDS`.
        pad_id: Token id in padding.

    Raises:
        AssertionError: The loader breaks the law; the message names step, rank, row, token, sample and both values.
    """
    due = _Due(plan, tokens, masks, fields, pad_id)
    for world_size in world_sizes:
        streams = _streams(load, world_size, 0, len(plan))
        for index in range(len(plan)):
            _compare(due, index, [stream[index] for stream in streams])


def check_coverage(
    plan: BatchPlan,
    load: Load,
    tokens: Tokens,
    world_sizes: Iterable[int] = WORLD_SIZES,
    *,
    fields: Collection[str] = FIELDS,
    pad_id: int = 0,
) -> None:
    """The coverage law: in every epoch each token occurs exactly as often as in the plan, which is once.

    A source that is repeated or weighted has more passes; the plan counts them. The place of a token is not compared.

    Args:
        plan: The plan that the loader follows.
        load: From (rank, world_size, next_step) to the steps of that rank.
        tokens: Token ids of every sample, by its number in the plan; `numbered_tokens` tells every token apart.
        world_sizes: Numbers of ranks to try.
        fields: Arrays that the loader's batches have; padding is where `segment_ids` is 0, or else an id is `pad_id`.
        pad_id: Token id in padding.

    Raises:
        AssertionError: The loader breaks the law; the message names epoch, sample, token, both counts and places.
    """
    due = _Due(plan, tokens, None, fields, pad_id)
    names = ("input_ids", "segment_ids") if "segment_ids" in fields else ("input_ids",)
    for world_size in world_sizes:
        streams = _streams(load, world_size, 0, len(plan))
        for epoch in plan.metadata.epochs:
            steps = range(epoch.first_step, epoch.first_step + epoch.steps)
            rows = [row for index in steps for row in _rows([stream[index] for stream in streams], index, names)]
            given = [
                row.values["input_ids"][row.values[names[-1]] != (0 if len(names) > 1 else pad_id)] for row in rows
            ]
            planned = [due.ids(each) for index in steps for row in plan.step(index).rows for each in row.segments]
            _compare_counts(due, epoch.epoch, world_size, rows, _counted(given), _counted(planned))


def check_determinism(load: Load, world_sizes: Iterable[int] = WORLD_SIZES) -> None:
    """The determinism law: a rank's stream is the same each time, also while another one is being read.

    Two streams are read in turn, so that a random state which they share shows.

    Args:
        load: From (rank, world_size, next_step) to the steps of that rank.
        world_sizes: Numbers of ranks to try.

    Raises:
        AssertionError: A second stream has other values; the message names step, rank, place and both values.
    """
    for world_size in world_sizes:
        for rank in range(world_size):
            first = list(load(rank, world_size, 0))
            pair = zip_longest(load(rank, world_size, 0), load(rank, world_size, 0), fillvalue=None)
            for index, steps in enumerate(zip_longest(first, pair, fillvalue=None)):
                for again in steps[1] or (None, None):
                    found = difference(steps[0], again)
                    assert found is None, f"step {index}, rank {rank} of {world_size}: another time {found}"


def check_micro_batches(plan: BatchPlan, load: Load, world_sizes: Iterable[int] = WORLD_SIZES) -> None:
    """The law of equal counts: all ranks have as many steps, and in each step as many micro-batches, some of them empty.

    A rank with fewer would leave the others waiting for its gradients.

    Args:
        plan: The plan that the loader follows.
        load: From (rank, world_size, next_step) to the steps of that rank.
        world_sizes: Numbers of ranks to try.

    Raises:
        AssertionError: The counts differ; the message names step, ranks and both counts.
    """
    for world_size in world_sizes:
        streams = _streams(load, world_size, 0, len(plan))
        for index in range(len(plan)):
            counts = [len(_micro_batches(stream[index])) for stream in streams]
            for rank, count in enumerate(counts):
                assert count == counts[0], (
                    f"step {index}: rank {rank} of {world_size} has {_many(count, 'micro-batch', 'micro-batches')}, rank 0 has {counts[0]}"
                )


def check_elastic_resume(
    plan: BatchPlan,
    load: Load,
    tokens: Tokens,
    world_sizes: Iterable[int] = WORLD_SIZES,
    *,
    stops: Iterable[int] | None = None,
    state_of: Callable[[Any], Any] | None = None,
    masks: Tokens | None = None,
    fields: Collection[str] = FIELDS,
    pad_id: int = 0,
) -> None:
    """The law of elastic resume: w ranks up to a step, then v ranks from there, give together exactly the plan's steps.

    Args:
        plan: The plan that the loader follows.
        load: From (rank, world_size, state) to the steps of that rank; a new run has the state 0.
        tokens: Token ids of every sample, by its number in the plan.
        world_sizes: Numbers of ranks to try, each before and after the stop.
        stops: Numbers of finished steps, 0..len(plan); by default at most `MAX_STOPS`, spread over the plan.
        state_of: What a checkpoint keeps of rank 0's loader, the object that `load` returned; by default the number
            of finished steps.
        masks: 1 where a token is predicted, as long as `tokens`; without, all tokens are.
        fields: Arrays that the loader's batches have, of `FIELDS`.
        pad_id: Token id in padding.

    Raises:
        AssertionError: The loader breaks the law; the message names the stop, step, rank, row, sample and both values.
    """
    due = _Due(plan, tokens, masks, fields, pad_id)
    sizes = list(world_sizes)
    for stop in _spread(len(plan)) if stops is None else stops:
        for before in sizes:
            state = _run(due, load, before, stop, state_of)
            for after in sizes:
                words = f"stopped after {_many(stop, 'step')} on {_many(before, 'rank')}, resumed on {after}: "
                streams = _streams(load, after, state, len(plan) - stop, words)
                for index in range(stop, len(plan)):
                    _compare(due, index, [stream[index - stop] for stream in streams], words)


def check_loader(
    plan: BatchPlan,
    load: Load,
    tokens: Tokens,
    world_sizes: Iterable[int] = WORLD_SIZES,
    *,
    masks: Tokens | None = None,
    fields: Collection[str] = FIELDS,
    pad_id: int = 0,
) -> None:
    """All token laws: `check_micro_batches`, `_tokens`, `_coverage`, `_determinism` and `_elastic_resume`.

    Args:
        plan: The plan that the loader follows.
        load: From (rank, world_size, next_step) to the steps of that rank.
        tokens: Token ids of every sample, by its number in the plan; `numbered_tokens` finds most.
        world_sizes: Numbers of ranks to try.
        masks: 1 where a token is predicted, as long as `tokens`; without, all tokens are.
        fields: Arrays that the loader's batches have, of `FIELDS`.
        pad_id: Token id in padding.

    Raises:
        AssertionError: The loader breaks a law.
    """
    sizes = list(world_sizes)
    check_micro_batches(plan, load, sizes)
    check_tokens(plan, load, tokens, sizes, masks=masks, fields=fields, pad_id=pad_id)
    check_coverage(plan, load, tokens, sizes, fields=fields, pad_id=pad_id)
    check_determinism(load, sizes)
    check_elastic_resume(plan, load, tokens, sizes, masks=masks, fields=fields, pad_id=pad_id)


def difference(first: Any, second: Any) -> str | None:
    """Where two values differ, with both; None where they are equal. Mappings, sequences and arrays are looked into.

    Args:
        first: What is expected.
        second: Compared with it.
    """
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        mappings = cast("list[Mapping[str, Any]]", [first, second])
        ours, theirs = map(dict, mappings)
        if ours.keys() != theirs.keys():
            return f"the names are {list(theirs)}, not {list(ours)}"
        return _first_difference((f"`{name}`", ours[name], theirs[name]) for name in ours)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        ours, theirs = cast("list[Sequence[Any]]", [first, second])
        if len(ours) != len(theirs):
            return f"has length {len(theirs)}, not {len(ours)}"
        return _first_difference((f"[{at}]", *pair) for at, pair in enumerate(zip(ours, theirs, strict=True)))
    ours, theirs = cast("list[Any]", [first, second])
    if hasattr(ours, "__array__") and hasattr(theirs, "__array__"):
        return difference(np.asarray(ours).tolist(), np.asarray(theirs).tolist())
    return None if ours == theirs else f"is {reprlib.repr(theirs)}, not {reprlib.repr(ours)}"


def _first_difference(parts: Iterable[tuple[str, Any, Any]]) -> str | None:
    for name, ours, theirs in parts:
        if (text := difference(ours, theirs)) is not None:
            return f"{name} {text}"
    return None


class _PlannedRow(NamedTuple):
    """A row as the plan has it."""

    number: int
    row: Row
    values: dict[str, NDArray[np.int64]]


class _GivenRow(NamedTuple):
    """A row as a loader gave it, and where."""

    rank: int
    world_size: int
    number: int
    place: str
    values: dict[str, NDArray[np.int64]]


class _Due:
    """The content of every row of a plan."""

    def __init__(
        self, plan: BatchPlan, tokens: Tokens, masks: Tokens | None, fields: Collection[str], pad_id: int
    ) -> None:
        unknown = sorted(set(fields) - set(FIELDS))
        assert not unknown and "input_ids" in fields, f"`fields` are `input_ids` and more of {FIELDS}: {tuple(fields)}"
        last = int(plan.sample.max(initial=-1))
        for name, columns in (("tokens", tokens), ("masks", masks)):
            assert columns is None or last < len(columns), (
                f"`{name}` has {_many(len(columns), 'sample')}, the plan has a sample {last}"
            )
        self.plan, self.tokens, self._masks, self._pad_id = plan, tokens, masks, pad_id
        self.fields = tuple(name for name in FIELDS if name in fields)
        self._steps: dict[int, list[_PlannedRow]] = {}

    def step(self, index: int) -> list[_PlannedRow]:
        """The rows of one step."""
        if index not in self._steps:
            step = self.plan.step(index)
            self._steps[index] = [
                _PlannedRow(number, row, self._values(row, step.row_len)) for number, row in enumerate(step.rows)
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
            f"`{name}` of sample {segment.sample} has {_many(len(column), 'value')}, the plan places {first} to {end}"
        )
        return np.asarray(column[first:end], dtype=np.int64)


def _run(due: _Due, load: Load, world_size: int, stop: int, state_of: Callable[[Any], Any] | None) -> Any:
    """Reads some steps of every rank, compares them, and returns the state that a checkpoint would keep."""
    words = f"before the stop after {_many(stop, 'step')}: "
    loaders = [load(rank, world_size, 0) for rank in range(world_size)]
    shares = [list(islice(loader, stop)) for loader in loaders]
    for rank, share in enumerate(shares):
        assert len(share) == stop, f"{words}rank {rank} of {world_size} yields {_many(len(share), 'step')}"
    for index in range(stop):
        _compare(due, index, [share[index] for share in shares], words)
    return stop if state_of is None else state_of(loaders[0])


def _spread(steps: int) -> list[int]:
    """At most `MAX_STOPS` numbers of finished steps, from none to all."""
    count = min(MAX_STOPS, steps + 1)
    return sorted({round(number * steps / max(count - 1, 1)) for number in range(count)})


def _streams(load: Load, world_size: int, state: Any, steps: int, words: str = "") -> list[list[Any]]:
    """The steps of every rank; each has to have as many as the plan."""
    streams = [list(islice(load(rank, world_size, state), steps + 1)) for rank in range(world_size)]
    for rank, stream in enumerate(streams):
        count = f"more than {steps}" if len(stream) > steps else f"{len(stream)} of {steps}"
        assert len(stream) == steps, f"{words}rank {rank} of {world_size} yields {count} steps"
    return streams


def _micro_batches(step: Any) -> Sequence[Mapping[str, Any]]:
    return [cast("Mapping[str, Any]", step)] if isinstance(step, Mapping) else list(step)


def _rows(shares: Sequence[Any], index: int, fields: Sequence[str], words: str = "") -> Iterator[_GivenRow]:
    """The rows of one step, rank by rank."""
    for rank, share in enumerate(shares):
        number = 0
        for batch, arrays in enumerate(_micro_batches(share)):
            place = f"{words}step {index}, rank {rank} of {len(shares)}, micro-batch {batch}"
            values = {name: _array(arrays, name, place) for name in fields}
            shapes = {name: array.shape for name, array in values.items()}
            assert len(set(shapes.values())) == 1, f"{place}: the arrays have different shapes: {shapes}"
            for row in range(len(values["input_ids"])):
                own = {name: array[row] for name, array in values.items()}
                yield _GivenRow(rank, len(shares), number, f"{place}, row {row}", own)
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


def _compare(due: _Due, index: int, shares: Sequence[Any], words: str = "") -> None:
    """Compares the rows that all ranks have of one step with the plan's: each has to be there once, in any order."""
    left = {row.number: row for row in due.step(index)}
    padding = due.padding
    by_content: dict[bytes, list[int]] = {}
    for number, row in left.items():
        by_content.setdefault(_key(row.values), []).append(number)
    others: list[_GivenRow] = []
    for row in _rows(shares, index, due.fields, words):
        if numbers := by_content.get(_key(row.values)):
            del left[numbers.pop()]
        elif any((array != padding[name]).any() for name, array in row.values.items()):
            others.append(row)
    if others:
        _refuse(due, index, others[0], left)
    for row in left.values():
        raise AssertionError(
            f"{words}step {index}: none of {_many(len(shares), 'rank')} has row {row.number} of the plan ({_samples(row.row)})"
        )


def _refuse(due: _Due, index: int, given: _GivenRow, left: Mapping[int, _PlannedRow]) -> None:
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


def _equal_ids(row: _PlannedRow, given: _GivenRow) -> int:
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
    more = ", .." if len(names) > _SHOWN else ""
    return f"sample{'s' if len(names) > 1 else ''} {', '.join(names[:_SHOWN])}{more}"


def _many(count: int, one: str, several: str = "") -> str:
    return f"{count} {one if count == 1 else several or one + 's'}"


def _key(values: Mapping[str, NDArray[np.int64]]) -> bytes:
    return b"".join(array.tobytes() for array in values.values())


def _counted(arrays: Sequence[NDArray[np.int64]]) -> dict[int, int]:
    """How often each id occurs."""
    ids, counts = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *arrays]), return_counts=True)
    return dict(zip(ids.tolist(), counts.tolist(), strict=True))


def _compare_counts(
    due: _Due,
    epoch: int,
    world_size: int,
    rows: Sequence[_GivenRow],
    given: Mapping[int, int],
    planned: Mapping[int, int],
) -> None:
    for number in sorted(given.keys() | planned.keys()):
        found, expected = given.get(number, 0), planned.get(number, 0)
        if found != expected:
            places = [row.place for row in rows if number in row.values["input_ids"]]
            where = f": {'; '.join(places[:_SHOWN])}" if places else ""
            raise AssertionError(
                f"epoch {epoch}, {_many(world_size, 'rank')}: id {number}{due.place(number)} comes {_many(found, 'time')}, "
                f"the plan has it {_many(expected, 'time')}{where}"
            )
