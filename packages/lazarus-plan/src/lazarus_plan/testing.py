"""Laws and Hypothesis strategies, for tests of your own loaders: `lazarus-plan[testing]`.

A loader that follows a plan obeys two laws. *Resume*: stopped after any step and started again there, it goes on with
the rest of the same stream. *Elastic*: whatever the number of ranks, together they train on the plan's rows, each
once, in equally many micro-batches.

```
@given(plans())
def test_my_loader_resumes(plan):
    check_resume(lambda next_step: MyLoader(plan, next_step))
```
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lazarus_plan.build import build_plan
from lazarus_plan.config import PlanConfig
from lazarus_plan.lengths.cache import LengthCache, LengthRow
from lazarus_plan.plan import BatchPlan

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Samples = tuple[int, ...]
"""A row, as the samples that stand in it."""


def check_resume(load: Callable[[int], Iterable[Any]]) -> None:
    """The resume law: for every n, `load(n)` is what `load(0)` gives from its n-th element on.

    Args:
        load: From the next step to what the loader yields from there, in a form that `==` compares.
    """
    whole = list(load(0))
    for next_step in range(len(whole) + 1):
        rest = list(load(next_step))
        assert rest == whole[next_step:], f"resumed at step {next_step}, the loader yields another stream"


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


def length_caches(min_size: int = 1, max_size: int = 60, max_length: int = 64) -> "SearchStrategy[LengthCache]":
    """Length caches of samples of 1..max_length tokens, without a header."""
    from hypothesis import strategies as st

    lengths = st.lists(st.integers(1, max_length), min_size=min_size, max_size=max_size)
    return lengths.map(
        lambda values: LengthCache.from_rows(LengthRow(f"s{place}", length) for place, length in enumerate(values))
    )


def plan_configs(max_length: int = 64) -> "SearchStrategy[PlanConfig]":
    """Configurations of every mode and policy that plan every cache of `length_caches(max_length=max_length)`."""
    from hypothesis import strategies as st

    @st.composite
    def configs(draw: st.DrawFn) -> PlanConfig:
        mode = draw(st.sampled_from(("packed", "packed", "stable", "padded", "bucketed")))
        align = 1 if mode == "bucketed" else draw(st.sampled_from((1, 1, 8)))
        row_len = draw(st.integers(max_length // 2, 2 * max_length)) // align * align
        return PlanConfig(
            token_budget=row_len * draw(st.integers(1, 5)),
            row_len=row_len,
            epochs=draw(st.integers(1, 3)),
            seed=draw(st.integers(0, 2**48)),
            mode=mode,
            align=align,
            window=None if mode == "bucketed" else draw(st.sampled_from((None, 7))),
            bucket_edges=(row_len // 4, row_len // 2, row_len) if mode == "bucketed" else (),
            oversize=draw(st.sampled_from(("truncate", "split"))),
        )

    return configs()


def plans() -> "SearchStrategy[BatchPlan]":
    """Plans of every mode and policy that leave no sample out."""
    from hypothesis import strategies as st

    return st.builds(build_plan, length_caches(), plan_configs())
