from collections import Counter
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_plan import BatchPlan, LengthCache, LengthRow, PlanConfig, build_plan
from lazarus_plan.packing.permutation import shuffle_key
from lazarus_plan.packing.reshuffle import deal_anew


@given(st.integers(1, 60), st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(0, 9))
def test_rows_in_other_company_hold_the_same_items_and_are_no_more(row_len: int, lengths: list[int], seed: int):
    length = [min(each, row_len) for each in lengths]
    rows: list[list[int]] = []
    for item in range(len(length)):
        if not rows or sum(length[each] for each in rows[-1]) + length[item] > row_len:
            rows.append([])
        rows[-1].append(item)
    dealt = deal_anew(rows, length, row_len, lambda purpose: shuffle_key(purpose, seed, 0, 0))
    assert Counter(item for row in dealt for item in row) == Counter(range(len(length)))
    assert len(dealt) <= len(rows) and all(0 < sum(length[item] for item in row) <= row_len for row in dealt)


def samples_of_rows(plan: BatchPlan, epoch: int) -> list[tuple[int, ...]]:
    about = plan.metadata.epochs[epoch]
    steps = [plan.step(index) for index in range(about.first_step, about.first_step + about.steps)]
    return [tuple(segment.sample for segment in row.segments) for step in steps for row in step.rows]


def repeated_pairs(epochs: list[list[tuple[int, ...]]]) -> float:
    """Share of the pairs of row mates that shared a row in an earlier epoch."""
    seen = set[tuple[int, int]]()
    repeated = total = 0
    for rows in epochs:
        pairs = {tuple(sorted(pair)) for row in rows for pair in combinations(row, 2)}
        repeated += len(pairs & seen) if seen else 0
        total += len(pairs) if seen else 0
        seen |= pairs  # pyright: ignore[reportAssignmentType] # pairs are of two
    return repeated / total


@pytest.mark.parametrize("lengths", [range(20, 420, 2), [40 + n * n % 181 for n in range(200)]], ids=["own", "few"])
@pytest.mark.parametrize("align", [1, 8])
def test_samples_share_rows_with_others_in_every_epoch(align: int, lengths: list[int]):
    cache = LengthCache.from_rows(LengthRow(f"s{n}", length) for n, length in enumerate(lengths))
    plan = build_plan(cache, PlanConfig(token_budget=4096, row_len=2048, epochs=8, align=align))
    epochs = [samples_of_rows(plan, epoch) for epoch in range(8)]
    assert all(len(rows) <= len(epochs[0]) for rows in epochs)
    shuffled: list[list[tuple[int, ...]]] = []
    for epoch, rows in enumerate(epochs):
        samples = Random(epoch).sample(range(len(lengths)), len(lengths))
        shuffled.append([tuple(samples.pop() for _ in row) for row in rows])
    assert repeated_pairs(epochs) < 1.25 * repeated_pairs(shuffled)
