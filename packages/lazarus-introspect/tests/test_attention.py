"""Patterns and head detectors. `test_hooks.py` compares the patterns themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_introspect import hooked
from lazarus_introspect.errors import RequestError, SiteError
from lazarus_introspect.reading.attention import KINDS, attention_patterns, detect_heads
from lazarus_introspect.statistics import benjamini_hochberg, sign_flip_p
from lazarus_models.backend import mx


def test_patterns_are_by_block(opened):
    ids = [[1, 5, 9, 200]]
    assert {layer: each.shape for layer, each in attention_patterns(opened("jamba"), ids).items()} == {
        layer: (1, 8, 4, 4)
        for layer, block in enumerate(opened("jamba").model.config.blocks)
        if block.mixer.kind == "attention"
    }
    with pytest.raises(SiteError):
        attention_patterns(opened("mamba"), ids)


@pytest.mark.parametrize("name", ["llama", "gpt_oss", "gemma3_text"])
def test_random_models_have_no_content_heads(name, opened):
    found = detect_heads(opened(name), rows=12, period=12)
    assert all(0 <= each.score <= 1 and 0 <= each.control <= 1 and 0 < each.p <= each.q <= 1 for each in found)
    assert not [each for each in found if each.detected and each.kind in ("induction", "duplicate")]
    assert {each.kind for each in found} == set(KINDS)


def test_a_trained_model_has_heads(stories):
    found = detect_heads(stories, first=1, rows=12, period=12)
    assert {each.kind for each in found if each.detected} >= {"previous", "sink"}
    assert found == detect_heads(stories, first=1, rows=12, period=12)


def test_hand_made_patterns_are_found(stories):
    """Hooks give block 0 heads whose behaviour is known; a token is recognised by its embedding."""
    embedded = []

    def pattern(own):
        x = np.array(embedded[-1])
        rows, heads, tokens, _ = own.shape
        made = np.zeros((rows, heads, tokens, tokens), np.float32)
        same = (x[:, :, None] == x[:, None]).all(axis=-1) & np.tri(tokens, k=-1, dtype=bool)
        for row, i in np.ndindex(rows, tokens):
            earlier = np.flatnonzero(same[row, i])
            made[row, 0, i, earlier[-1] + 1 if len(earlier) else 0] = 1  # induction
            made[row, 1, i, earlier[-1] if len(earlier) else 0] = 1  # duplicate
            made[row, 2, i, max(i - 1, 0)] = 1  # previous
            made[row, 3:, i, : i + 1] = 1 / (i + 1)  # uniform
        return mx.array(made)

    with hooked(stories, [("embed", embedded.append), ("blocks.0.attn.pattern", pattern)]):
        found = detect_heads(stories, rows=12, period=10, seed=3)
    heads = {(each.head, each.kind) for each in found if each.detected and each.layer == 0}
    assert {(0, "induction"), (1, "duplicate"), (2, "previous")} <= heads
    assert not any(head > 2 for head, _ in heads)
    assert not heads & {(0, "duplicate"), (1, "induction"), (2, "induction"), (2, "duplicate")}


def test_too_little_is_refused(stories):
    for arguments in ({"rows": 7}, {"period": 2}):
        with pytest.raises(RequestError) as found:
            detect_heads(stories, **arguments)
        assert found.value.code == "LI-E126"
    with pytest.raises(SiteError):
        detect_heads(stories.model.layers[0])


@given(seed=st.integers(0, 99))
def test_p_values_of_noise_are_uniform_and_of_an_effect_are_small(seed):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(24, 40))
    p_values = sign_flip_p(noise, seed=seed, permutations=500)
    assert (p_values > 0).all() and abs(p_values.mean() - 0.5) < 0.25
    strong = sign_flip_p(noise + 3, seed=seed, permutations=500)
    assert strong.max() < 0.01 and strong.min() >= 1 / 501  # never 0
    assert np.array_equal(p_values, sign_flip_p(noise, seed=seed, permutations=500))


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=20))
def test_q_values_are_at_least_p_and_keep_their_order(p_values):
    p = np.array(p_values)
    q = benjamini_hochberg(p)
    assert (q >= p - 1e-15).all() and (q <= 1).all()
    assert (np.diff(q[np.argsort(p)]) >= -1e-15).all()
    assert len(p) > 1 or q[0] == p[0]
