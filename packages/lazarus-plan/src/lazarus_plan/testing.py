"""Laws and Hypothesis strategies, for tests of your own loaders: `lazarus-plan[testing]`.

A loader that follows a plan obeys these laws:

- *Tokens*: every place of every row has the token, label, position and segment that the plan gives it.
- *Coverage*: in every epoch each token comes exactly once, or as often as a source is repeated.
- *Determinism*: a rank's stream is the same each time.
- *Micro-batches*: all ranks have as many steps, and in each step as many micro-batches.
- *Elastic resume*: w ranks up to a step, then v ranks from there, give together exactly the plan's steps.
- *Resume*, *elastic*: the same of any stream, and of sample ids alone: for loaders whose tokens cannot be seen.

```
@given(planned_tokens())
def test_my_loader_follows_its_plan(drawn):
    plan, tokens = drawn
    check_loader(plan, lambda rank, world_size, next_step: MyLoader(plan, tokens, rank, world_size, next_step), tokens)
```

Which law finds which fault; bold is the law that is meant for it:

| fault | found by |
|---|---|
| a cut sample begins at its first token in every row | **`check_tokens`**, `check_coverage`, `check_elastic_resume` |
| two samples of a row change places | **`check_tokens`**, `check_elastic_resume`, `check_elastic` |
| a sample begins one token late in its row | **`check_tokens`**, `check_coverage`, `check_elastic_resume` |
| the last token of every sample is missing | **`check_coverage`**, `check_tokens`, `check_elastic_resume` |
| a sample has the tokens of another version of the data | **`check_coverage`**, `check_tokens`, `check_elastic_resume` |
| padding has another id | **`check_tokens`**, `check_elastic_resume` |
| padding is a segment of its own | **`check_tokens`**, `check_coverage`, `check_elastic_resume` |
| padding is predicted | **`check_tokens`**, `check_elastic_resume` |
| labels are shifted by one | **`check_tokens`**, `check_elastic_resume` |
| labels ignore the loss mask | **`check_tokens`**, `check_elastic_resume` |
| the first token of a sample is predicted from the sample before it | **`check_tokens`**, `check_elastic_resume` |
| all samples of a row are one segment | **`check_tokens`**, `check_elastic_resume` |
| positions run on from one sample to the next | **`check_tokens`**, `check_elastic_resume` |
| a rank leaves its last row out | **`check_coverage`**, `check_tokens`, `check_elastic_resume`, `check_elastic` |
| every rank has all rows | **`check_coverage`**, `check_tokens`, `check_elastic_resume`, `check_elastic` |
| a rank without rows has no micro-batch | **`check_micro_batches`**, `check_elastic` |
| the last step is missing | **`check_micro_batches`**, `check_tokens`, `check_coverage`, `check_elastic_resume`, `check_elastic` |
| two steps change places | **`check_tokens`**, `check_elastic_resume`, `check_elastic` |
| the second epoch is the first again | **`check_tokens`**, `check_elastic_resume`, `check_elastic` |
| rows are drawn from a random state that all loaders share | **`check_determinism`**, `check_tokens`, `check_coverage`, `check_elastic_resume`, `check_resume`, `check_elastic` |
| rows are drawn from a shared random state that each loader seeds at its start | **`check_determinism`**, `check_elastic_resume`, `check_resume` |
| resuming starts again at the first step | **`check_resume`**, `check_elastic_resume` |
| resuming leaves a step out | **`check_resume`**, `check_elastic_resume` |
| the state counts steps of all ranks together | **`check_elastic_resume`** |
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lazarus_plan.build import build_plan
from lazarus_plan.config import PlanConfig
from lazarus_plan.lengths.cache import LengthCache, LengthRow
from lazarus_plan.plan import BatchPlan
from lazarus_plan.token_laws import (
    FIELDS,
    check_coverage,
    check_determinism,
    check_elastic_resume,
    check_loader,
    check_micro_batches,
    check_tokens,
    difference,
    numbered_tokens,
)

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = [
    "FIELDS",
    "check_coverage",
    "check_determinism",
    "check_elastic",
    "check_elastic_resume",
    "check_loader",
    "check_micro_batches",
    "check_resume",
    "check_tokens",
    "length_caches",
    "numbered_tokens",
    "plan_configs",
    "planned_tokens",
    "plans",
]

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


def length_caches(min_size: int = 1, max_size: int = 60, max_length: int = 64) -> "SearchStrategy[LengthCache]":
    """Strategy for length caches without fingerprints.

    Args:
        min_size: Minimum number of samples.
        max_size: Maximum number of samples.
        max_length: Maximum number of tokens of a sample; the minimum is 1.
    """
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


def planned_tokens(max_size: int = 30, max_length: int = 32) -> "SearchStrategy[tuple[BatchPlan, list[list[int]]]]":
    """Plans as of `plans`, each with token ids of its samples by `numbered_tokens`.

    Args:
        max_size: Samples at most.
        max_length: Tokens of a sample at most.
    """
    from hypothesis import strategies as st

    def planned(cache: LengthCache, config: PlanConfig) -> tuple[BatchPlan, list[list[int]]]:
        return build_plan(cache, config), numbered_tokens(cache.length.tolist())

    return st.builds(planned, length_caches(max_size=max_size, max_length=max_length), plan_configs(max_length))
