"""Attention by runs against MLX's own with a mask, and its gradients."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazarus_models.backend import mx
from lazarus_models.components import segment_mask
from lazarus_models.ops import fresh, view
from lazarus_models.ops.cpu.segment_attention import (
    BLOCK,
    TOGETHER,
    _blocks,  # pyright: ignore[reportPrivateUsage] # what is computed at once
    _gather,  # pyright: ignore[reportPrivateUsage] # the sums that the backward pass needs
    attend_runs,
)
from suite import examples

SCALE = 0.3


def cut(tokens: int, ends: set[int]) -> list[tuple[int, int]]:
    """A row's runs, ending at some places."""
    bounds = [0, *sorted(end for end in ends if 0 < end < tokens), tokens]
    return list(pairwise(bounds))


def labels(rows: list[list[tuple[int, int]]]) -> mx.array:
    return mx.array([[number for number, (start, end) in enumerate(row) for _ in range(start, end)] for row in rows])


def masked(rows):
    """MLX's attention with a mask of the same runs."""

    def attend(queries, keys, values, sinks=None):
        mask = segment_mask(labels(rows))
        return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=SCALE, mask=mask, sinks=sinks)

    return attend


def by_runs(rows):
    def attend(queries, keys, values, sinks=None):
        return attend_runs(queries, keys, values, rows, SCALE, sinks)

    return attend


def some(tokens: int, *, heads: int = 4, groups: int = 2, rows: int = 2) -> list[mx.array]:
    shapes = [(rows, heads, tokens, 8), (rows, groups, tokens, 8), (rows, groups, tokens, 8)]
    return [2 * mx.random.normal(shape, key=mx.random.key(place)) for place, shape in enumerate(shapes)]


@settings(deadline=None, max_examples=examples(25))
@given(st.integers(1, 2 * BLOCK + 3), st.lists(st.sets(st.integers(1, 2 * BLOCK), max_size=40), min_size=2, max_size=2))
def test_each_run_attends_as_a_mask_says_forward_and_backward(tokens, ends):
    rows = [cut(tokens, each) for each in ends]
    primals = some(tokens)
    slope = mx.random.normal(primals[0].shape, key=mx.random.key(9))
    ours, theirs = (mx.vjp(attend, primals, [slope]) for attend in (by_runs(rows), masked(rows)))
    for mine, other in zip([*ours[0], *ours[1]], [*theirs[0], *theirs[1]], strict=True):
        assert mx.abs(mine - other).max().item() < 1e-4 * max(1.0, mx.abs(other).max().item())


@given(st.sets(st.integers(1, 4 * BLOCK), max_size=60), st.sampled_from([1, 4, 9, 64]))
def test_short_runs_that_follow_each_other_are_one_block(ends, heads):
    row = cut(4 * BLOCK, ends)
    blocks = list(_blocks([row], heads))
    assert [token for block in blocks for token in range(block.first, block.last)] == list(range(4 * BLOCK))
    most = min(BLOCK, math.isqrt(TOGETHER // heads))
    ends_of = dict(row)
    for block, after in pairwise(blocks):
        if ends_of[block.start] - block.start > most:
            assert block.last - block.first <= BLOCK
            assert block.last <= ends_of[block.start]
        else:
            assert block.last - block.start <= most
            assert ends_of[after.start] - block.start > most


def test_sinks_take_their_share_and_learn():
    rows = [[(0, 40)], [(0, 15), (15, 40)]]
    primals = [*some(40), mx.array([0.5, -1.0, 3.0, 0.0])]
    slope = mx.random.normal(primals[0].shape, key=mx.random.key(9))

    def by_hand(queries, keys, values, sinks):
        keys, values = (mx.repeat(each, 2, axis=1) for each in (keys, values))
        scores = mx.where(segment_mask(labels(rows)), SCALE * queries @ keys.swapaxes(-1, -2), -mx.inf)
        scores = mx.concatenate([scores, mx.broadcast_to(sinks[:, None, None], (2, 4, 40, 1))], axis=-1)
        return mx.softmax(scores, axis=-1)[..., :-1] @ values

    ours, theirs = (mx.vjp(attend, primals, [slope]) for attend in (by_runs(rows), by_hand))
    for mine, other in zip([*ours[0], *ours[1]], [*theirs[0], *theirs[1]], strict=True):
        assert mx.abs(mine - other).max().item() < 1e-4


def test_the_bits_are_the_same_run_to_run():
    rows = [cut(200, {77}), cut(200, {150})]
    primals = some(200)
    found = [mx.vjp(by_runs(rows), primals, [primals[0]]) for _ in range(3)]
    first, *others = [[np.array(each) for each in (*values, *slopes)] for values, slopes in found]
    assert all(np.array_equal(one, two) for other in others for one, two in zip(first, other, strict=True))


def test_scores_that_no_exponential_holds_are_no_trouble():
    queries, keys, values = some(BLOCK + 5)
    gathered, slopes = mx.vjp(by_runs([[(0, BLOCK + 5)]] * 2), [1e3 * queries, keys, values], [queries])
    assert all(mx.isfinite(each).all().item() for each in (*gathered, *slopes))


@pytest.mark.parametrize("function", [np.exp, np.sqrt])
def test_vector_instructions_give_a_number_the_same_bits_wherever_it_stands(function):
    numbers = np.random.default_rng(0).uniform(0, 30, 1000).astype(np.float32)
    said = function(numbers)
    room = np.empty(1100, dtype=np.float32)
    for first in range(40):
        place = room[first : first + 1000 - first]
        place[:] = numbers[first:]
        assert np.array_equal(function(place, out=place), said[first:])
    assert all(function(numbers[place : place + 1])[0] == said[place] for place in range(0, 1000, 7))


def test_what_is_written_to_a_view_is_the_arrays_and_a_fresh_array_is_another():
    array = mx.arange(4.0) * 2
    other = fresh(view(array))
    view(array)[0] = 7
    assert array.tolist() == [7, 2, 4, 6]
    assert other.tolist() == [0, 2, 4, 6]


def test_a_sink_far_above_all_scores_takes_everything_and_no_sum_overflows():
    queries, keys, values = some(20)
    found, logs = _gather(queries, keys, values, mx.full((4,), 1e3), [[(0, 20)]] * 2)
    assert np.array_equal(np.array(found), np.zeros(found.shape))
    assert np.array_equal(np.array(logs), np.full(logs.shape, 1e3))
