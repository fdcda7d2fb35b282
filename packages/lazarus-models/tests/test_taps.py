"""Taps, and attention as scores and pattern."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_models.backend import mx
from lazarus_models.components import tapped
from lazarus_models.components.taps import is_tapped, offer, wanted
from lazarus_models.ops.attention import attention, attention_pattern, attention_scores, weighted_values


@given(
    seed=st.integers(0, 99),
    shared=st.integers(1, 3),
    group=st.integers(1, 3),
    tokens=st.integers(1, 5),
    before=st.integers(0, 4),
    mask=st.sampled_from(["none", "causal", "bool", "added"]),
    has_sinks=st.booleans(),
)
def test_pattern_times_values_is_attention(seed, shared, group, tokens, before, mask, has_sinks):
    keys = mx.random.split(mx.random.key(seed), 5)
    heads, seen = shared * group, before + tokens
    q = mx.random.normal((2, heads, tokens, 8), key=keys[0])
    k, v = (mx.random.normal((2, shared, seen, 8), key=key) for key in keys[1:3])
    chosen = {
        "none": None,
        "causal": "causal",
        "bool": mx.random.bernoulli(0.5, (tokens, seen), key=keys[3]) | (mx.arange(seen) == 0),
        "added": mx.random.normal((heads, tokens, seen), key=keys[3]),
    }[mask]
    sinks = mx.random.normal((heads,), key=keys[4]) if has_sinks else None
    expected = attention(q, k, v, scale=0.3, mask=chosen, sinks=sinks)
    pattern = attention_pattern(attention_scores(q, k, scale=0.3, mask=chosen), sinks)
    assert mx.allclose(weighted_values(pattern, v), expected, atol=1e-5)
    assert has_sinks or mx.allclose(pattern.sum(axis=-1), mx.ones((2, heads, tokens)), atol=1e-5)


def test_runs_are_causal_segments():
    q = mx.random.normal((1, 2, 6, 4), key=mx.random.key(0))
    pattern = np.array(attention_pattern(attention_scores(q, q, scale=1.0, mask=None, runs=[[(0, 2), (2, 6)]])))
    label = np.array([0, 0, 1, 1, 1, 1])
    seen = np.tri(6, dtype=bool) & (label[:, None] == label)
    assert not pattern[..., ~seen].any()
    assert (pattern[..., seen] > 0).all()


class Doubled:
    def __init__(self, name):
        self.name = name

    def starts(self, body, before):
        self.before = before

    def wants(self, layer, name):
        return name == self.name

    def __call__(self, layer, name, x):
        return x * 2 if name == self.name else x


def test_taps_nest_and_end_with_their_block(tiny):
    layer, x = tiny.model.body, mx.array([1.0])
    assert offer(layer, "a", x) is x
    with tapped(Doubled("a")), tapped(Doubled("a")):
        assert offer(layer, "a", x).item() == 4
        assert is_tapped() and wanted(layer, "a") and not wanted(layer, "b")
    with pytest.raises(ValueError, match="stop"), tapped(Doubled("a")):
        raise ValueError("stop")
    assert not is_tapped()


def test_a_pass_says_how_many_tokens_come_before(tiny):
    cache, tap = tiny.model.make_cache(), Doubled("nothing")
    with tapped(tap):
        for ids, before in (([[1, 2, 3]], 0), ([[4]], 3), ([[5, 6]], 4)):
            tiny.model(mx.array(ids), cache)
            assert tap.before == before
        tiny.model(mx.array([[1, 2]]))
        assert tap.before == 0
