"""The logit lens: references, and the laws P1 to P5 of 4.1 and those of emergence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import suite
from lazarus_introspect import logit_lens, run_with_cache, sites
from lazarus_introspect.errors import RequestError
from lazarus_introspect.reading.lens import emergence, lens_numbers, read_stream, streams
from lazarus_models.backend import mx

EVERY = (*suite.FAMILIES, "llama+4bit", "gemma3_text+4bit", "qwen3+lora", "stories260k")
REFERENCED = (
    *("gemma3_text", "gpt_oss", "granite", "granitemoe", "llama", "llama3-rope", "mistral", "mixtral", "olmoe"),
    *("qwen3", "starcoder2"),
)
IDS = [[1, 5, 9, 200, 33, 7, 5, 9, 200, 60, 61, 62]]


@pytest.mark.parametrize("name", REFERENCED)
def test_the_lens_equals_that_of_transformers(name, opened, inside):
    expected = inside(name)
    lens = logit_lens(opened(name), expected["0.input_ids"][None])
    for layer in range(len(lens)):
        wanted = expected[f"lens.{layer}"]
        assert np.abs(np.array(lens[layer, 0]) - wanted).max() / np.ptp(wanted) < 5e-5


@pytest.mark.parametrize("name", EVERY)
def test_the_last_layer_is_the_model(name, opened):
    lm = opened(name)
    lens = logit_lens(lm, IDS)
    assert lens.shape[0] == sites(lm).layers + 1
    assert mx.array_equal(lens[-1], lm.model(mx.array(IDS)))
    numbers = lens_numbers(lens[:, 0, -1])
    assert numbers.kl_to_final[-1] == 0
    assert ((numbers.js_to_previous >= 0) & (numbers.js_to_previous <= np.log(2))).all()
    assert ((numbers.entropy >= 0) & (numbers.entropy <= 1)).all()
    assert all(1 <= rank <= lens.shape[-1] for rank in numbers.rank(7))
    assert numbers.rank(numbers.top(2, 1)[0])[2] == 1


@pytest.mark.parametrize("name", EVERY)
def test_the_lens_ignores_positions_around_and_scales(name, opened):
    lm = opened(name)
    _, cache = run_with_cache(lm, IDS, ["resid_final", "blocks.1.resid_pre"])
    for x in cache.values():
        whole = read_stream(lm, x)
        limit = 1e-5 * (1 + mx.abs(whole).max().item())
        assert mx.abs(read_stream(lm, x[:, 3:6]) - whole[:, 3:6]).max().item() < limit
        if mx.square(x).mean(axis=-1).min().item() > 0.1:  # so that epsilon does not count
            assert mx.abs(read_stream(lm, x * 4) - whole).max().item() < 1e3 * limit


def test_mid_block_streams_are_read_in_order(stories):
    names = list(streams(stories, IDS, mid=True))
    assert names[:3] == ["blocks.0.resid_pre", "blocks.0.resid_mid", "blocks.1.resid_pre"]
    assert names[-1] == "resid_final" and len(names) == 11


def test_a_classifier_has_no_lens(stories):
    from lazarus_models import SequenceModel

    with pytest.raises(RequestError) as found:
        logit_lens(SequenceModel(stories.model.config, 2), IDS)
    assert found.value.code == "LI-E122"


def test_ranks_of_equal_logits_are_equal():
    numbers = lens_numbers(mx.array([[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]]))
    assert [numbers.rank(token)[0] for token in range(4)] == [4, 1, 1, 3]
    assert numbers.rank(3)[1] == 1
    assert numbers.top(0, 3) == [1, 2, 3]
    assert np.isclose(numbers.entropy[1], 1)


@given(
    ranks=st.lists(st.integers(1, 3), min_size=1, max_size=8),
    low=st.floats(0.01, 1),
    high=st.floats(0.01, 1),
    seed=st.integers(0, 99),
)
def test_emergence_is_stable_and_monotone(ranks, low, high, seed):
    probabilities = np.random.default_rng(seed).random(len(ranks)).tolist()
    first, stable, early = emergence(ranks, probabilities, threshold=min(low, high))
    late = emergence(ranks, probabilities, threshold=max(low, high)).first_probable
    assert (stable is not None) == (ranks[-1] == 1)
    assert stable is None or (first is not None and stable >= first)
    assert stable is None or (set(ranks[stable:]) == {1} and (stable == 0 or ranks[stable - 1] != 1))
    assert late is None or (early is not None and early <= late)
