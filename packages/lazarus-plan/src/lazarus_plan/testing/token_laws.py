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
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice, zip_longest
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.plan import BatchPlan
from lazarus_plan.testing.planned_rows import (
    FIELDS,
    SHOWN,
    GivenRow,
    PlannedRows,
    Tokens,
    compare_step,
    given_rows,
    many,
    micro_batches,
)

WORLD_SIZES = (1, 2, 3)
MAX_STOPS = 9
"""Steps at which `check_elastic_resume` stops a run, where none are given."""

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
    due = PlannedRows(plan, tokens, masks, fields, pad_id)
    for world_size in world_sizes:
        streams = _streams(load, world_size, 0, len(plan))
        for index in range(len(plan)):
            compare_step(due, index, [stream[index] for stream in streams])


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
    due = PlannedRows(plan, tokens, None, fields, pad_id)
    names = ("input_ids", "segment_ids") if "segment_ids" in fields else ("input_ids",)
    for world_size in world_sizes:
        streams = _streams(load, world_size, 0, len(plan))
        for epoch in plan.metadata.epochs:
            steps = range(epoch.first_step, epoch.first_step + epoch.steps)
            rows = [row for index in steps for row in given_rows([stream[index] for stream in streams], index, names)]
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
            counts = [len(micro_batches(stream[index])) for stream in streams]
            for rank, count in enumerate(counts):
                assert count == counts[0], (
                    f"step {index}: rank {rank} of {world_size} has {many(count, 'micro-batch', 'micro-batches')}, rank 0 has {counts[0]}"
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
    due = PlannedRows(plan, tokens, masks, fields, pad_id)
    sizes = list(world_sizes)
    for stop in _spread(len(plan)) if stops is None else stops:
        for before in sizes:
            state = _run(due, load, before, stop, state_of)
            for after in sizes:
                words = f"stopped after {many(stop, 'step')} on {many(before, 'rank')}, resumed on {after}: "
                streams = _streams(load, after, state, len(plan) - stop, words)
                for index in range(stop, len(plan)):
                    compare_step(due, index, [stream[index - stop] for stream in streams], words)


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


def _run(due: PlannedRows, load: Load, world_size: int, stop: int, state_of: Callable[[Any], Any] | None) -> Any:
    """Reads some steps of every rank, compares them, and returns the state that a checkpoint would keep."""
    words = f"before the stop after {many(stop, 'step')}: "
    loaders = [load(rank, world_size, 0) for rank in range(world_size)]
    shares = [list(islice(loader, stop)) for loader in loaders]
    for rank, share in enumerate(shares):
        assert len(share) == stop, f"{words}rank {rank} of {world_size} yields {many(len(share), 'step')}"
    for index in range(stop):
        compare_step(due, index, [share[index] for share in shares], words)
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


def _counted(arrays: Sequence[NDArray[np.int64]]) -> dict[int, int]:
    """How often each id occurs."""
    ids, counts = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *arrays]), return_counts=True)
    return dict(zip(ids.tolist(), counts.tolist(), strict=True))


def _compare_counts(
    due: PlannedRows,
    epoch: int,
    world_size: int,
    rows: Sequence[GivenRow],
    given: Mapping[int, int],
    planned: Mapping[int, int],
) -> None:
    for number in sorted(given.keys() | planned.keys()):
        found, expected = given.get(number, 0), planned.get(number, 0)
        if found != expected:
            places = [row.place for row in rows if number in row.values["input_ids"]]
            where = f": {'; '.join(places[:SHOWN])}" if places else ""
            raise AssertionError(
                f"epoch {epoch}, {many(world_size, 'rank')}: id {number}{due.place(number)} comes {many(found, 'time')}, "
                f"the plan has it {many(expected, 'time')}{where}"
            )
