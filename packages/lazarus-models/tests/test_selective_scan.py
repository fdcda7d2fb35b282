"""Values and gradients of the state-space scans against a plain loop over tokens, and what they keep for the gradient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazarus_models.backend import mx, nn
from lazarus_models.components import selective_scan as module
from lazarus_models.components.mamba import state_space_duality
from lazarus_models.components.selective_scan import CHUNK, in_chunks, scan, selective_scan
from lazarus_models.trees import evaluate
from suite import examples

LENGTHS = st.sampled_from([1, 2, 15, 16, 17, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 5])


def normal(*shape, seed):
    return mx.random.normal(shape, key=mx.random.key(seed))


def mamba_arguments(rows, tokens, channels=6, numbers=4):
    steps = nn.softplus(normal(rows, tokens, channels, seed=1))
    x, rates = normal(rows, tokens, channels, seed=2), -mx.exp(normal(channels, numbers, seed=3))
    b, c = normal(rows, tokens, numbers, seed=4), normal(rows, tokens, numbers, seed=5)
    return [steps, x, rates, b, c, normal(rows, channels, numbers, seed=6)]


def mamba_loop(steps, x, rates, b, c, state):
    ys = []
    for t in range(x.shape[1]):
        state = mx.exp(steps[:, t, :, None] * rates) * state + (steps[:, t] * x[:, t])[..., None] * b[:, t, None]
        ys.append((state * c[:, t, None]).sum(axis=-1))
    return [mx.stack(ys, axis=1), state]


def by_passes(steps, x, rates, b, c, state):
    ys = []
    for some_steps, some_x, some_b, some_c in zip(*map(in_chunks, (steps, x, b, c)), strict=True):
        y, state = module._by_passes(some_steps, some_x, rates, some_b, some_c, state)
        ys.append(y)
    return [mx.concatenate(ys, axis=1), state]


def by_default(*arguments):
    return list(selective_scan(*arguments))


def assert_same(function, other, arguments):
    """Values and gradients within 1e-5 of each array's largest number."""
    weights = [normal(*each.shape, seed=9) for each in other(*arguments)]
    found, expected = (mx.vjp(each, arguments, weights) for each in (function, other))
    for mine, theirs in zip([*found[0], *found[1]], [*expected[0], *expected[1]], strict=True):
        assert mine.shape == theirs.shape
        assert mx.abs(mine - theirs).max().item() <= 1e-5 * max(1.0, mx.abs(theirs).max().item())


@pytest.mark.parametrize("function", [by_default, by_passes])
@given(rows=st.integers(1, 3), tokens=LENGTHS)
@settings(max_examples=examples(12), deadline=None)
def test_the_selective_scan_and_its_gradients_are_those_of_a_loop(function, rows, tokens):
    assert_same(function, mamba_loop, mamba_arguments(rows, tokens))


def test_many_states_make_chunks_short_and_change_nothing(monkeypatch):
    arguments = mamba_arguments(2, 70)
    expected = mx.vjp(by_default, arguments, [mx.ones((2, 70, 6)), mx.ones((2, 6, 4))])
    monkeypatch.setattr(module, "_WORKING_SET", 1)
    assert len(module._chunks(70, 24)) == 5
    found = mx.vjp(by_default, arguments, [mx.ones((2, 70, 6)), mx.ones((2, 6, 4))])
    assert all(
        mx.allclose(a, b, atol=1e-5) for a, b in zip([*found[0], *found[1]], [*expected[0], *expected[1]], strict=True)
    )


def test_strided_arguments_are_read_as_they_are():
    arguments = mamba_arguments(2, 40)
    strided = [mx.swapaxes(mx.contiguous(mx.swapaxes(each, 0, 1)), 0, 1) for each in arguments]
    evaluate(strided)
    assert not np.asarray(strided[0]).flags.c_contiguous
    assert mx.array_equal(by_default(*strided)[0], by_default(*arguments)[0])


def dual_arguments(rows, tokens, heads=4, width=3, groups=2, numbers=5):
    steps, rates = nn.softplus(normal(rows, tokens, heads, seed=1)), -mx.exp(normal(heads, seed=2))
    x, state = normal(rows, tokens, heads, width, seed=3), normal(rows, heads, width, numbers, seed=4)
    return [x, steps, rates, *(normal(rows, tokens, groups, numbers, seed=seed) for seed in (5, 6)), state]


def dual_loop(x, steps, rates, b, c, state):
    ys, repeats = [], x.shape[2] // b.shape[2]
    for t in range(x.shape[1]):
        into, out = (mx.repeat(each[:, t], repeats, axis=1)[:, :, None] for each in (b, c))
        driven = (steps[:, t, :, None] * x[:, t])[..., None] * into
        state = mx.exp(steps[:, t] * rates)[..., None, None] * state + driven
        ys.append((state * out).sum(axis=-1))
    return [mx.stack(ys, axis=1), state]


@given(rows=st.integers(1, 3), tokens=LENGTHS)
@settings(max_examples=examples(12), deadline=None)
def test_mamba_2_and_its_gradients_are_those_of_a_loop(rows, tokens):
    assert_same(lambda *each: list(state_space_duality(*each)), dual_loop, dual_arguments(rows, tokens))


def test_without_a_state_both_begin_at_zero():
    *arguments, state = mamba_arguments(2, 20)
    assert mx.array_equal(selective_scan(*arguments)[0], selective_scan(*arguments, mx.zeros_like(state))[0])
    *arguments, state = dual_arguments(2, 20)
    assert mx.array_equal(state_space_duality(*arguments)[0], state_space_duality(*arguments, mx.zeros_like(state))[0])


def kept_bytes(function, arguments):
    """Peak of MLX's memory for a gradient, beyond what was there."""
    evaluate(arguments)
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    found = mx.grad(lambda *each: sum(one.sum() for one in function(*each)), argnums=list(range(len(arguments))))
    evaluate(found(*arguments))
    return mx.get_peak_memory() - before


def growth(function, make):
    """Bytes that 512 tokens more take for the gradient."""
    return kept_bytes(function, make(1, 1024)) - kept_bytes(function, make(1, 512))


def states_alone(rows, tokens):
    return [mx.full((rows, tokens, 64, 16), 0.5)] * 2


def wide_mamba(rows, tokens):
    return mamba_arguments(rows, tokens, channels=64, numbers=16)


@pytest.mark.parametrize(
    ("function", "make", "most"),
    [
        (by_default, wide_mamba, 1),
        (by_passes, wide_mamba, 1),
        (lambda *each: [scan(*each)], states_alone, 8),  # its arguments and its value are arrays of states
    ],
)
def test_a_gradient_keeps_few_arrays_of_all_states(function, make, most):
    states = 4 * 512 * 64 * 16
    assert growth(function, make) < most * states  # plain autograd: 30 and more


def test_a_gradient_of_mamba_2_keeps_no_scores():
    def make(rows, tokens):
        return dual_arguments(rows, tokens, heads=8, width=4, groups=1, numbers=8)

    scores = 4 * 512 * CHUNK * 8
    assert growth(lambda *each: state_space_duality(*each), make) < 0.5 * scores  # plain autograd: 10
