"""Laws of any stream, and of sample ids alone: for loaders whose tokens cannot be seen."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from lazarus_plan.plan import BatchPlan
from lazarus_plan.testing.token_laws import (
    difference,
)

Samples = tuple[int, ...]
"""The samples of a row, in order."""


def check_resume(load: Callable[[int], Iterable[Any]]) -> None:
    """The resume law: for every n, `load(n)` is what `load(0)` gives from its n-th element on.

    Args:
        load: From the next step to what the loader yields from there: values that `==` compares, also in mappings,
            sequences and arrays.

    Raises:
        AssertionError: A resumed stream is another one; the message names the step and both values.
    """
    whole = list(load(0))
    for next_step in range(len(whole) + 1):
        found = difference(whole[next_step:], list(load(next_step)))
        assert found is None, f"resumed at step {next_step}, the loader yields another stream: {found}"


def check_elastic(
    plan: BatchPlan,
    load: Callable[[int, int], Iterable[Sequence[Sequence[Samples]]]],
    world_sizes: Iterable[int] = range(1, 9),
) -> None:
    """The elastic law: for every world size the ranks share the rows of every step, each row once.

    Args:
        plan: What the loader follows.
        load: From (rank, world_size) to, step by step, the micro-batches: lists of rows, each a tuple of sample ids.
        world_sizes: Which to try.

    Raises:
        AssertionError: The ranks have other rows, or different numbers of steps or micro-batches.
    """
    for world_size in world_sizes:
        ranks = [list(load(rank, world_size)) for rank in range(world_size)]
        for rank, stream in enumerate(ranks):
            assert len(stream) == len(plan), f"rank {rank} of {world_size} yields {len(stream)} of {len(plan)} steps"
        for index in range(len(plan)):
            shares = [stream[index] for stream in ranks]
            counts = sorted({len(share) for share in shares})
            assert len(counts) == 1, f"step {index}: of {world_size} ranks some run {counts[0]}, some {counts[-1]}"
            dealt: Counter[Hashable] = Counter(tuple(row) for share in shares for batch in share for row in batch)
            due = Counter(tuple(segment.sample for segment in row.segments) for row in plan.step(index).rows)
            assert dealt == due, f"step {index}: {world_size} ranks do not share the plan's rows"
