"""Models and references of the tests."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file


@pytest.fixture(scope="session")
def data() -> Path:
    """Real inputs, described in the data folder's README."""
    beside = Path(__file__).parents[4] / "shared" / "data"
    folder = Path(os.environ.get("LAZARUS_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real data: set LAZARUS_TEST_DATA, or put the folder at {beside}")
    return folder


@pytest.fixture(scope="session")
def opened(data):
    """Opens a family once: a name of `models/families`, `NAME+4bit` quantized, `NAME+lora` with an adapter of random numbers."""
    from lazarus_models import LoraConfig, apply_lora, load, quantize
    from lazarus_models.backend import mx
    from lazarus_models.trees import set_weights, weights

    kept = {}

    def open_model(name):
        if name in kept:
            return kept[name]
        family, _, change = name.partition("+")
        lm = load(data / "models" / (family if family == "stories260k" else f"families/{family}"))
        if change == "4bit":
            lm = quantize(lm, bits=4, group_size=32)
        elif change == "lora":
            apply_lora(lm.model, LoraConfig(rank=2, alpha=4.0), seed=0)
            random = {
                name: mx.random.normal(tensor.shape, scale=0.1, key=mx.random.key(place))
                for place, (name, tensor) in enumerate(weights(lm.model).items())
                if name.endswith("lora_b")
            }
            assert random
            set_weights(lm.model, random)
        kept[name] = lm
        return lm

    return open_model


@pytest.fixture(scope="session")
def inside(data):
    """Reads the reference of a family."""
    return lambda name: load_file(data / "reference/introspect" / name / "introspect.safetensors")


@pytest.fixture(scope="session")
def stories(opened):
    """A trained model of 260,032 parameters that tells children's stories."""
    return opened("stories260k")


@pytest.fixture(scope="session")
def told(data):
    """Prompts of `stories260k` with their references: (ids, arrays)."""
    folder = data / "reference/stories260k"
    prompts = json.loads((folder / "prompts.json").read_text("utf-8"))
    return [
        (np.array([prompts[place]["ids"]]), load_file(folder / f"prompt{place}.np64.safetensors")) for place in range(3)
    ]


@pytest.fixture(scope="session")
def causal(data):
    """The references of clean and corrupt prompts: (said, clean ids, corrupt ids, arrays)."""
    folder = data / "reference/stories260k"
    prompts = json.loads((folder / "prompts.json").read_text("utf-8"))
    said = json.loads((folder / "causal.json").read_text("utf-8"))
    ids = [next(each["ids"] for each in prompts if each["prompt"] == said[kind]) for kind in ("clean", "corrupt")]
    return said, [ids[0]], [ids[1]], load_file(folder / "causal.f64.safetensors")
