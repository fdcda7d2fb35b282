import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazarus_plan import BatchPlan, PlanCursor
from lazarus_plan.cursor import check_state
from lazarus_plan.errors import StalePlan
from lazarus_plan.shard import Policy
from lazarus_plan.testing import check_elastic, check_resume, plans
from suite import examples

policies = st.sampled_from(("contiguous", "stride", "snake", "lpt"))


def shares(plan: BatchPlan, rank: int, world_size: int, policy: Policy, micro_rows: int | None):
    for share in PlanCursor(plan, rank, world_size, micro_rows=micro_rows, policy=policy):
        yield [[tuple(segment.sample for segment in row.segments) for row in batch] for batch in share.micro_batches]


@settings(max_examples=examples(20), deadline=None)
@given(plans(), policies, st.none() | st.integers(1, 3))
def test_ranks_share_every_step_for_every_world_size(plan: BatchPlan, policy: Policy, micro_rows: int | None):
    check_elastic(plan, lambda rank, world: shares(plan, rank, world, policy, micro_rows), [1, 2, 3, 5, 8])


@pytest.mark.slow
def test_ranks_share_every_step_for_world_sizes_1_to_64(plan: BatchPlan):
    check_elastic(plan, lambda rank, world: shares(plan, rank, world, "snake", None), range(1, 65))


@settings(max_examples=examples(20), deadline=None)
@given(plans(), st.integers(1, 5), st.data())
def test_a_resumed_stream_is_the_rest_of_the_whole_one(plan: BatchPlan, world_size: int, data: st.DataObject):
    rank = data.draw(st.integers(0, world_size - 1))
    check_resume(lambda next_step: PlanCursor(plan, rank, world_size, next_step=next_step))


def test_the_world_size_may_change_in_the_middle(plan: BatchPlan):
    middle = len(plan) // 2
    before = [[list(PlanCursor(plan, rank, 6))[i] for rank in range(6)] for i in range(middle)]
    after = [[PlanCursor(plan, rank, 5).share(i) for rank in range(5)] for i in range(middle, len(plan))]
    for index, ranks in enumerate([*before, *after]):
        rows = [row for share in ranks for batch in share.micro_batches for row in batch]
        assert sorted(rows) == sorted(plan.step(index).rows)


def test_a_checkpoint_of_another_plan_is_refused(plan: BatchPlan):
    state = PlanCursor(plan).state(3, "00")
    assert check_state(plan, state) == 3
    with pytest.raises(StalePlan) as caught:
        check_state(plan, state | {"plan_id": "sha256:00"})
    assert (caught.value.code, caught.value.exit_code) == ("LP-E172", 1)
