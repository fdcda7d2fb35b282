from hypothesis import given
from hypothesis import strategies as st

from lazarus_plan.plan import Row, Segment
from lazarus_plan.shard import assign

rows = st.lists(st.integers(1, 64).map(lambda length: Row((Segment(0, 0, length),))), max_size=40)
POLICIES = ("contiguous", "stride", "snake", "lpt")


@given(rows, st.integers(1, 64), st.sampled_from(POLICIES))
def test_every_row_goes_to_one_share(rows: list[Row], shares: int, policy: str):
    dealt = assign(rows, shares, policy)  # pyright: ignore[reportArgumentType] # one of POLICIES
    assert len(dealt) == shares
    assert sorted(row for share in dealt for row in share) == list(range(len(rows)))


@given(rows, st.integers(1, 64), st.sampled_from(("contiguous", "stride", "snake")))
def test_shares_differ_by_one_row_at_most(rows: list[Row], shares: int, policy: str):
    sizes = [len(share) for share in assign(rows, shares, policy)]  # pyright: ignore[reportArgumentType] # see above
    assert max(sizes) - min(sizes) <= 1


def test_the_longest_first_rule_evens_out_cost():
    rows = [Row((Segment(0, 0, length),)) for length in (10, 9, 8, 4, 3, 2)]
    costs = [sum(rows[row].cost for row in share) for share in assign(rows, 3, "lpt")]
    assert costs == [100, 85, 89]


def test_each_policy_deals_as_it_says():
    rows = [Row((Segment(0, 0, 9 - place),)) for place in range(5)]
    assert assign(rows, 2, "contiguous") == [[0, 1, 2], [3, 4]]
    assert assign(rows, 2, "stride") == [[0, 2, 4], [1, 3]]
    assert assign(rows, 2, "snake") == [[0, 3, 4], [1, 2]]
