import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_plan import LengthCache, LengthRow, LengthsHeader, PlanConfig, build_plan
from lazarus_plan.packing.stats import rows_a_step


@given(st.lists(st.integers(1, 64), min_size=1, max_size=80), st.integers(1, 6), st.integers(0, 9))
def test_steps_hold_as_many_rows_as_each_other_but_for_one(lengths: list[int], rows_per_step: int, seed: int):
    cache = LengthCache.from_rows(LengthRow(str(place), length) for place, length in enumerate(lengths))
    plan = build_plan(cache, PlanConfig(token_budget=64 * rows_per_step, row_len=64, seed=seed))
    sizes = {len(plan.step(index).rows) for index in range(len(plan))}
    assert max(sizes) <= rows_per_step and max(sizes) - min(sizes) <= 1


@given(st.lists(st.integers(1, 64), min_size=1, max_size=80))
def test_rows_of_a_step_stand_by_descending_cost(lengths: list[int]):
    cache = LengthCache.from_rows(LengthRow(str(place), length) for place, length in enumerate(lengths))
    plan = build_plan(cache, PlanConfig(token_budget=256, row_len=64))
    for index in range(len(plan)):
        costs = [row.cost for row in plan.step(index).rows]
        assert costs == sorted(costs, reverse=True)


@pytest.mark.parametrize(("mean", "deviation", "least"), [(6.0, 1.0, 6), (7.3, 1.2, 3)], ids=["web", "code"])
def test_strata_even_out_how_many_samples_a_step_holds(mean: float, deviation: float, least: int):
    lengths = np.random.default_rng(7).lognormal(mean, deviation, 100_000).astype(np.int64)
    lengths = np.clip(lengths, 1, 65_536)
    cache = LengthCache("lengths", LengthsHeader(len(lengths)), "sha256:00", range(len(lengths)), lengths)  # pyright: ignore[reportArgumentType] # ids are not asked for
    plan = build_plan(cache, PlanConfig(token_budget=64 * 2048, row_len=2048, oversize="split"))
    samples, rows = np.diff(plan.step_splits), rows_a_step(plan)
    row = np.repeat(np.cumsum(rows) - rows, samples) + plan.start // 2048
    shuffled_sd = np.bincount(row).std() * 64**0.5  # of a sum of 64 independent rows
    assert samples[rows == 64].std() < shuffled_sd / least


def test_strata_even_out_what_a_step_costs():
    rng = np.random.default_rng(1)
    lengths = np.clip(rng.lognormal(5, 1, 20_000).astype(int), 1, 2048)
    cache = LengthCache.from_rows(LengthRow(str(place), int(length)) for place, length in enumerate(lengths))
    plan = build_plan(cache, PlanConfig(token_budget=16 * 2048, row_len=2048))
    costs = np.array([sum(row.cost for row in plan.step(index).rows) for index in range(len(plan))])
    costs = costs[[len(plan.step(index).rows) == 16 for index in range(len(plan))]]
    row_cost = np.array([row.cost for index in range(len(plan)) for row in plan.step(index).rows])
    shuffled_sd = row_cost.std() * 4  # of a sum of 16 independent rows
    assert costs.std() < shuffled_sd / 3
