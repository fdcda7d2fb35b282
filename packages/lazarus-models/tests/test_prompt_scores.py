import numpy as np

from lazarus_models.backend import mx
from lazarus_models.generation.prompt_scores import read_scored


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
