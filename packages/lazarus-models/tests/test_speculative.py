import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazarus_models import GenerationConfig, init_model, load
from lazarus_models.errors import GenerationError
from lazarus_models.generation import generate_tokens, speculative_tokens
from suite import examples


@settings(deadline=None, max_examples=examples(15))
@given(
    ahead=st.integers(1, 6),
    tokens=st.integers(1, 25),
    seed=st.integers(0, 9),
    temperature=st.sampled_from([0.0, 0.3, 1.0]),
    penalty=st.sampled_from([0.0, 0.7]),
)
@pytest.mark.thorough
def test_the_text_is_the_large_models_own(stories, drafts, ahead, tokens, seed, temperature, penalty):
    config = GenerationConfig(max_new_tokens=tokens, temperature=temperature, seed=seed, frequency_penalty=penalty)
    prompt = [1, 403, 407]
    plain = list(generate_tokens(stories.model, prompt, config))
    for draft in drafts:
        assert list(speculative_tokens(stories.model, draft, prompt, config, ahead=ahead)) == plain


@pytest.fixture(scope="module")
def drafts(stories):
    """One that always agrees, and one that knows nothing."""
    fresh = init_model(stories.config.model_copy(update={"num_hidden_layers": 1}), stories.tokenizer, seed=0)
    return stories.model, fresh.model


def test_a_stop_id_ends_it(stories):
    plain = list(generate_tokens(stories.model, [1], GenerationConfig(max_new_tokens=20)))
    config = GenerationConfig(max_new_tokens=20, stop_ids=(plain[7],))
    assert list(speculative_tokens(stories.model, stories.model, [1], config)) == plain[: plain.index(plain[7]) + 1]


def test_models_that_cannot_go_back_are_refused(stories, data):
    mamba = load(data / "models/families/mamba")
    with pytest.raises(GenerationError, match="`draft` has layers with a window or a state"):
        list(speculative_tokens(stories.model, mamba.model, [1], GenerationConfig()))
