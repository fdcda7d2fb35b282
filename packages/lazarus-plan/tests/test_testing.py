"""The laws for users' loaders: they hold for ours, and find a loader that breaks them."""

import pytest
from hypothesis import given

from lazarus_plan import BatchPlan
from lazarus_plan.testing import check_elastic, check_resume, length_caches, plan_configs, plans


def test_a_loader_that_loses_its_place_breaks_the_resume_law():
    check_resume(lambda next_step: range(next_step, 5))
    with pytest.raises(AssertionError, match="resumed at step 1"):
        check_resume(lambda next_step: range(5))


def test_loaders_that_drop_or_double_rows_break_the_elastic_law(plan: BatchPlan):
    rows = [[tuple(s.sample for s in row.segments) for row in plan.step(index).rows] for index in range(len(plan))]
    check_elastic(plan, lambda rank, world: ([step[rank::world]] for step in rows))
    with pytest.raises(AssertionError, match="do not share the plan's rows"):
        check_elastic(plan, lambda rank, world: ([step] for step in rows))
    with pytest.raises(AssertionError, match="of 2 ranks some run 0, some 1"):
        check_elastic(plan, lambda rank, world: ([step[rank::world]] if step[rank::world] else [] for step in rows))
    with pytest.raises(AssertionError, match="yields"):
        check_elastic(plan, lambda rank, world: ([step[rank::world]] for step in rows[1:]))


@given(length_caches(max_length=32), plan_configs(max_length=32), plans())
def test_strategies_draw_what_they_say(cache, config, plan: BatchPlan):
    assert int(cache.length.max()) <= 32 and config.row_len >= 16
    assert plan.metadata.excluded.oversize == plan.metadata.excluded.zero_length == 0
