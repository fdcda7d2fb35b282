import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lazarus_models import GenerationConfig
from lazarus_models.backend import mx
from lazarus_models.generation.sampling import kept_logits, next_token, position_key
from suite import thinned

LOGITS = [1.0, 3.0, -1.0, 2.5, 0.0]  # a vocabulary of five


def probabilities(logits, config):
    return np.array(mx.softmax(kept_logits(mx.array(logits), config)))


def analytic(config):
    """The distribution a config means, in plain Python."""
    weights = [math.exp(logit / config.temperature) for logit in LOGITS]
    order = sorted(range(5), key=lambda token: -weights[token])
    if config.top_k:
        order = order[: config.top_k]
    total = sum(weights[token] for token in order)
    kept, reached = [], 0.0
    for token in order:
        if reached < config.top_p:
            kept.append(token)
        reached += weights[token] / total
    kept = [token for token in kept if weights[token] >= config.min_p * weights[order[0]]]
    total = sum(weights[token] for token in kept)
    return [weights[token] / total if token in kept else 0.0 for token in range(5)]


CONFIGS = [
    GenerationConfig(temperature=1.0),
    GenerationConfig(temperature=0.7),
    GenerationConfig(temperature=1.0, top_k=3),
    GenerationConfig(temperature=1.0, top_p=0.9),
    GenerationConfig(temperature=1.0, min_p=0.1),
    GenerationConfig(temperature=1.3, top_k=4, top_p=0.8, min_p=0.05),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_kept_probabilities_are_the_analytic_ones(config):
    assert probabilities(LOGITS, config) == pytest.approx(analytic(config), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("config", thinned(CONFIGS, [CONFIGS[0], CONFIGS[-1]]))
def test_draws_follow_the_analytic_values_within_two_percent(config):
    draws = 8_000
    kept = kept_logits(mx.array(LOGITS), config)
    drawn = [mx.random.categorical(kept, key=position_key(config.seed, position)) for position in range(draws)]
    shares = np.bincount(np.array(mx.stack(drawn)), minlength=5) / draws
    assert shares == pytest.approx(analytic(config), abs=0.02)


def test_top_p_keeps_the_token_that_crosses():
    logits = [math.log(p) for p in (0.5, 0.3, 0.15, 0.05)]
    for top_p, kept in ((0.5, 1), (0.51, 2), (0.79, 2), (0.81, 3), (0.96, 4), (1.0, 4)):
        assert np.count_nonzero(probabilities(logits, GenerationConfig(temperature=1.0, top_p=top_p))) == kept


@settings(deadline=None)
@given(
    # eighths: two logits that differ still do when they are divided by the temperature
    logits=st.lists(st.integers(-240, 240).map(lambda eighths: eighths / 8), min_size=1, max_size=40, unique=True),
    temperature=st.floats(0.1, 5.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_top_p_of_one_percent_is_greedy(logits, temperature, seed):
    config = GenerationConfig(temperature=temperature, top_p=0.01, seed=seed)
    array = mx.array(logits)
    assert next_token(array, config, 0) == next_token(array, GenerationConfig(), 0)


@settings(deadline=None)
@given(
    logits=st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=40),
    config=st.builds(
        GenerationConfig,
        temperature=st.floats(0.01, 10.0),
        top_k=st.integers(0, 50),
        top_p=st.floats(1e-6, 1.0),
        min_p=st.floats(0.0, 1.0),
    ),
)
def test_some_token_is_always_kept_and_the_likeliest_among_them(logits, config):
    kept = np.array(kept_logits(mx.array(logits), config))
    assert np.isfinite(kept).any()
    assert np.isfinite(kept[np.argmax(logits)]) or np.isfinite(kept[kept == kept.max()]).all()
    assert 0 <= next_token(mx.array(logits), config, 0) < len(logits)


def test_a_draw_depends_on_seed_and_position_alone():
    config = GenerationConfig(temperature=1.0, seed=5)
    uniform = mx.zeros(1000)
    drawn = [next_token(uniform, config, position) for position in range(20)]
    mx.random.normal((3,))
    assert [next_token(uniform, config, position) for position in range(20)] == drawn
    assert len(set(drawn)) > 15
    assert next_token(uniform, config.model_copy(update={"seed": 6}), 0) != drawn[0]


def test_seed_zero_is_a_seed():
    assert position_key(0, 0).tolist() == [0, 0]
    assert GenerationConfig().seed == 0


@pytest.mark.parametrize("setting", [{"top_p": 0.9}, {"top_k": 5}, {"min_p": 0.1}])
def test_a_filter_without_temperature_is_refused(setting):
    with pytest.raises(ValidationError, match="no effect while `temperature` is 0"):
        GenerationConfig(**setting)


@pytest.mark.parametrize(
    "setting", [{"top_p": 0.0}, {"top_p": 1.1}, {"temperature": -1.0}, {"max_new_tokens": 0}, {"seed": 2**32}]
)
def test_values_out_of_range_are_refused(setting):
    with pytest.raises(ValidationError):
        GenerationConfig(**{"temperature": 1.0, **setting})
