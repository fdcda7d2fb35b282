"""Larger random models whose figures transformers computed: `tools/benchmarks/models_golden.py` makes them anew.

Here are the families of which mlx-lm is no judge, with windows, chunks, periods and scales unlike the small checkpoints'.
"""

import pytest

from lazarus_models import GenerationConfig
from lazarus_models.generation import generate_tokens
from suite import every_nth

NAMES = [
    "gemma3_text",
    "gpt_oss",
    "granitemoehybrid",
    "granitemoehybrid-dense",
    "jamba",
    "llama4_text",
    "mistral",
    "olmoe",
    "qwen3",
    "starcoder2",
]


@pytest.mark.parametrize("name", every_nth(NAMES, 2))
def test_a_larger_model_computes_what_transformers_computes(name, larger):
    model, entry = larger.made(larger.models[name]["config"]), larger.models[name]
    assert larger.error(model, entry) < 1e-5
    greedy = generate_tokens(model, larger.prompt, GenerationConfig(max_new_tokens=len(entry["greedy"])))
    assert list(greedy) == entry["greedy"]


def test_every_larger_model_is_tried(larger):
    assert sorted(larger.models) == NAMES
