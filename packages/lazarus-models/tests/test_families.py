import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from lazarus_models import GenerationConfig, generate_tokens, load
from lazarus_models.backend import mx


@pytest.fixture(params=["llama", "llama3-rope"])
def family(request, data):
    directory = data / "models/families" / request.param
    return load(directory), load_file(directory / "reference.safetensors")


def test_logits_equal_those_of_transformers(family):
    lm, reference = family
    for prompt in "01":
        logits = lm.model(mx.array(reference[f"{prompt}.input_ids"])[None])[0]
        assert np.abs(np.array(logits) - reference[f"{prompt}.logits"]).max() < 1e-4


@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy_tokens_equal_those_of_transformers(family, use_cache):
    lm, reference = family
    prompt = reference["0.input_ids"].tolist()
    new = generate_tokens(lm.model, prompt, GenerationConfig(max_new_tokens=24), use_cache=use_cache)
    assert prompt + list(new) == reference["greedy"].tolist()


@pytest.mark.parametrize("prompt", [0, 1, 2])
def test_trained_model_equals_an_independent_float64_forward_pass(stories, data, prompt):
    folder = data / "reference/stories260k"
    ids = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))[prompt]["ids"]
    reference = load_file(folder / f"prompt{prompt}.np64.safetensors")["logits"]
    assert np.abs(np.array(stories.model(mx.array([ids]))[0]) - reference).max() < 1e-4


def test_linear_rope_scales_positions(tiny, byte_tokenizer):
    from lazarus_models import ModelConfig, RopeConfig, new

    def logits(rope: RopeConfig):
        config: ModelConfig = tiny.config.model_copy(update={"rope": rope})
        attention = new(config, byte_tokenizer, seed=0).model.layers[0].self_attn
        return attention.rope

    queries = mx.random.normal((1, 1, 1, 16), key=mx.random.key(0))
    plain, scaled = logits(RopeConfig()), logits(RopeConfig(rope_type="linear", factor=4.0))
    assert mx.allclose(plain(queries, offset=3), scaled(queries, offset=12), atol=1e-6)
