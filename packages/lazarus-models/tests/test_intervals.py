"""Intervals and tests against brute force and against formulas written another way."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_models.evaluation.intervals import bootstrap_interval, paired_difference, sign_test, wilson_interval


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_ends_of_wilsons_interval_solve_the_score_equation(drawn):
    """Each end q satisfies (p - q)^2 = z^2 q (1 - q) / n, the definition of the score interval."""
    right, count = drawn
    p, z = right / count, 1.959963984540054
    low, high = wilson_interval(right, count)
    for q in (low, high):
        assert (p - q) ** 2 == pytest.approx(z * z * q * (1 - q) / count, abs=1e-9)
    assert 0 <= low <= p <= high <= 1 and low < high


def test_wilsons_interval_covers_the_true_share_in_95_of_100_samples():
    """Summed over all outcomes of 40 draws, without sampling."""
    for share in (0.1, 0.35, 0.5):
        covered = sum(
            math.comb(40, right) * share**right * (1 - share) ** (40 - right)
            for right in range(41)
            if wilson_interval(right, 40)[0] <= share <= wilson_interval(right, 40)[1]
        )
        assert 0.92 < covered < 0.98


@given(st.integers(0, 9), st.integers(0, 9))
def test_the_sign_test_is_the_share_of_sign_patterns_at_least_as_extreme(wins, losses):
    total = wins + losses
    patterns = [sum(each) for each in itertools.product((0, 1), repeat=total)]
    extreme = [each for each in patterns if abs(2 * each - total) >= abs(wins - losses)]
    assert sign_test(wins, losses) == pytest.approx(len(extreme) / len(patterns), abs=1e-15)
    assert sign_test(wins, losses) == sign_test(losses, wins)


def test_the_bootstrap_is_that_of_drawn_items_for_any_size_of_block(monkeypatch):
    rng = np.random.default_rng(3)
    bits, sizes = rng.exponential(2.0, 50), rng.integers(1, 9, 50).astype(float)
    drawn = rng.integers(0, 50, (20_000, 50))
    slow = np.quantile(bits[drawn].sum(1) / sizes[drawn].sum(1), [0.025, 0.975])
    found = bootstrap_interval(bits, sizes, seed=1)
    width = slow[1] - slow[0]
    assert np.abs(np.array(found) - slow).max() < 0.08 * width  # 1,000 resamples scatter by 4 % of the width
    assert bootstrap_interval(bits, sizes, seed=1) == found != bootstrap_interval(bits, sizes, seed=2)
    assert bootstrap_interval(bits, sizes, seed=1, figure=np.exp) == pytest.approx(np.exp(found))
    assert bootstrap_interval(bits[:1], sizes[:1]) is None


def test_what_two_models_have_in_common_cancels():
    rng = np.random.default_rng(0)
    common = rng.normal(0, 100, 80)
    ours, others, units = common + rng.normal(1, 0.1, 80), common, np.ones(80)
    value, ends = paired_difference(ours, others, units)
    assert ends[0] < value < ends[1] and ends[0] > 0.95 and ends[1] < 1.05
    mirrored, other_ends = paired_difference(others, ours, units)
    assert mirrored == -value and other_ends == pytest.approx((-ends[1], -ends[0]), abs=1e-9)
    assert paired_difference(ours, ours, units, is_exponential=True) == (0.0, (0.0, 0.0))
