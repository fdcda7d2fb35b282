"""Larger random models whose figures transformers computed: `tools/benchmarks/models_golden.py` makes them anew.

Here are the families of which mlx-lm is no judge, with windows, chunks, periods and scales unlike the small checkpoints'.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from lazarus_models import GenerationConfig, generate_tokens, new, set_weights, weights
from lazarus_models.backend import mx
from lazarus_models.families import canonical

GOLDEN = json.loads((Path(__file__).parent / "larger_families.json").read_text(encoding="utf-8"))
PROMPT = GOLDEN["prompt"]


def made(config, byte_tokenizer):
    """The model that `models_golden.py` makes."""
    config = canonical(config, "golden")
    lm = new(config, byte_tokenizer, seed=0, vocab_size=config.vocab_size)
    noisy = {
        name: tensor + mx.random.normal(tensor.shape, scale=0.05, key=mx.random.key(place))
        for place, (name, tensor) in enumerate(weights(lm.model).items())
    }
    set_weights(lm.model, noisy)
    return lm.model


def error(model, entry):
    found = np.array(model(mx.array([PROMPT]))[0, -1, : len(entry["logits"])])
    return np.abs(found - entry["logits"]).max() / entry["range"]


@pytest.mark.parametrize("name", GOLDEN["models"])
def test_a_larger_model_computes_what_transformers_computes(name, byte_tokenizer):
    entry = GOLDEN["models"][name]
    model = made(entry["config"], byte_tokenizer)
    assert error(model, entry) < 1e-5
    greedy = generate_tokens(model, PROMPT, GenerationConfig(max_new_tokens=len(entry["greedy"])))
    assert list(greedy) == entry["greedy"]


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("gpt_oss", "sliding_window", 13),
        ("gpt_oss", "num_experts_per_tok", 2),
        ("llama4_text", "attention_chunk_size", 20),
        ("llama4_text", "interleave_moe_layer_step", 3),
        ("llama4_text", "floor_scale", 9),
        ("granitemoehybrid", "attention_multiplier", 0.11),
        ("granitemoehybrid", "logits_scaling", 2.1),
        ("jamba", "attn_layer_offset", 2),
        ("mistral", "sliding_window", 13),
        ("starcoder2", "sliding_window", 21),
        ("starcoder2", "norm_epsilon", 2e-4),
    ],
)
def test_a_config_that_is_a_little_off_is_noticed(name, key, value, byte_tokenizer):
    entry = GOLDEN["models"][name]
    assert error(made({**entry["config"], key: value}, byte_tokenizer), entry) > 1e-4
