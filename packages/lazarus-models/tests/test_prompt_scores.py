import numpy as np
import pytest

from lazarus_models.backend import mx
from lazarus_models.generation.prompt_scores import read_scored
from lazarus_models.generation.sampling import token_logprob
from lazarus_models.ops.normalizer import log_normalizer


def test_the_scores_of_a_prompt_are_those_of_its_logits(stories):
    ids = [1, 403, 407, 261, 378, 432, 285]
    logits = np.array(stories.model(mx.array([ids])), dtype=np.float64)[0]
    logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    for top in (0, 1, 3):
        _, last, scores = read_scored(stories.model, ids, top)
        assert np.allclose(np.array(last), logits[-1], atol=1e-5)
        for place, score in enumerate(scores):
            assert abs(score.logprob - logprobs[place, ids[place + 1]]) < 1e-5
            assert [token for token, _ in score.top] == np.argsort(-logprobs[place])[:top].tolist()
            assert np.allclose([value for _, value in score.top], np.sort(logprobs[place])[::-1][:top], atol=1e-5)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 49_152, 151_937])
def test_log_probabilities_of_a_large_vocabulary_are_exact(size):
    logits = np.random.default_rng(0).normal(0, 3, (3, size)).astype(np.float32)
    wide = logits.astype(np.float64)
    expected = np.log(np.exp(wide - wide.max(-1, keepdims=True)).sum(-1, keepdims=True)) + wide.max(-1, keepdims=True)
    assert np.abs(np.array(log_normalizer(mx.array(logits))) - expected).max() < 4e-6
    found = token_logprob(mx.array(logits[0]), token=0, top=0).logprob
    assert abs(found - (wide[0, 0] - expected[0, 0])) < 4e-6


def test_excluded_tokens_count_nothing():
    logits = mx.array([[-mx.inf] * 300 + [2.0, 2.0]])
    assert log_normalizer(logits).item() == pytest.approx(2 + np.log(2), abs=1e-6)
