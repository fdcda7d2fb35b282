"""Hypothesis strategies for length caches, configurations, plans and tokens."""

from typing import TYPE_CHECKING

from lazarus_plan.build import build_plan
from lazarus_plan.config import PlanConfig
from lazarus_plan.lengths.cache import LengthCache, LengthRow
from lazarus_plan.plan import BatchPlan
from lazarus_plan.testing.token_laws import (
    numbered_tokens,
)

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


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
