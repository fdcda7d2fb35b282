from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazarus_plan.packing.best_fit import best_fit_decreasing, histogram, lower_bounds, slots
from suite import examples


def naive_best_fit_decreasing(lengths: list[int], row_len: int) -> list[list[int]]:
    """The textbook: each item, longest first, into the fullest row that still holds it."""
    rows: list[list[int]] = []
    for length in sorted(lengths, reverse=True):
        fitting = [row for row in rows if row_len - sum(row) >= length]
        if fitting:
            min(fitting, key=lambda row: row_len - sum(row)).append(length)
        else:
            rows.append([length])
    return rows


def residuals(rows: list[list[int]], row_len: int) -> Counter[int]:
    return Counter(row_len - sum(row) for row in rows)


def rows_of(lengths: list[int], row_len: int) -> list[list[int]]:
    slot, splits = slots(best_fit_decreasing(histogram(np.array(lengths)), row_len), row_len)
    return [slot[begin:end].tolist() for begin, end in pairwise(splits)]


@pytest.mark.slow
def test_rows_and_residuals_are_those_of_the_naive_algorithm():
    rng = np.random.default_rng(7)
    for _ in range(3000):
        row_len = int(rng.integers(1, 120))
        high = int(rng.integers(1, row_len + 1))
        lengths = rng.integers(1, high + 1, size=int(rng.integers(1, 90))).tolist()
        naive, fast = naive_best_fit_decreasing(lengths, row_len), rows_of(lengths, row_len)
        assert residuals(fast, row_len) == residuals(naive, row_len), (lengths, row_len)
        assert sorted(map(sum, fast)) == sorted(map(sum, naive))


@given(st.integers(1, 100), st.data())
def test_every_item_is_packed_once_and_no_row_is_too_long(row_len: int, data: st.DataObject):
    lengths = data.draw(st.lists(st.integers(1, row_len), min_size=1, max_size=80))
    rows = rows_of(lengths, row_len)
    assert Counter(length for row in rows for length in row) == Counter(lengths)
    assert all(sum(row) <= row_len for row in rows)


@given(st.integers(1, 100), st.data())
def test_no_packing_has_fewer_rows_than_the_bounds(row_len: int, data: st.DataObject):
    lengths = data.draw(st.lists(st.integers(1, row_len), min_size=1, max_size=80))
    bounds = lower_bounds(histogram(np.array(lengths)), row_len)
    assert 1 <= bounds.l1 <= bounds.l2 <= len(rows_of(lengths, row_len))


def plain_l2(lengths: list[int], row_len: int) -> int:
    """Martello and Toth (1990), as their text has it."""
    best = 0
    for threshold in {0, *(length for length in lengths if 2 * length <= row_len)}:
        alone = [each for each in lengths if each > row_len - threshold]
        half = [each for each in lengths if row_len - threshold >= each and 2 * each > row_len]
        small = [each for each in lengths if 2 * each <= row_len and each >= threshold]
        room = len(half) * row_len - sum(half)
        best = max(best, len(alone) + len(half) + max(0, -(-(sum(small) - room) // row_len)))
    return best


@settings(max_examples=examples(300))
@given(st.integers(1, 60), st.data())
def test_l2_is_the_plain_bound(row_len: int, data: st.DataObject):
    lengths = data.draw(st.lists(st.integers(1, row_len), min_size=1, max_size=40))
    assert lower_bounds(histogram(np.array(lengths)), row_len).l2 == plain_l2(lengths, row_len)
