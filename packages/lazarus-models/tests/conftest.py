"""Models and inputs of the tests."""

import json
import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def data() -> Path:
    """Real inputs, described in the data folder's README."""
    beside = Path(__file__).parents[4] / "shared" / "data"
    folder = Path(os.environ.get("LAZARUS_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real data: set LAZARUS_TEST_DATA, or put the folder at {beside}")
    return folder


@pytest.fixture(scope="session")
def byte_tokenizer():
    from lazarus_tokenkit import load_tokenizer

    return load_tokenizer("byte")


@pytest.fixture
def tiny(byte_tokenizer):
    """A fresh two-layer model over bytes."""
    from lazarus_models import init_model

    return init_model("tiny-test", byte_tokenizer, seed=0)


@pytest.fixture
def tiny_directory(tiny, tmp_path):
    """The same, saved."""
    from lazarus_models import save

    save(tiny, tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture(scope="session")
def stories(data):
    """A trained model of 260,032 parameters that tells children's stories."""
    from lazarus_models import load

    return load(data / "models/stories260k")


class Larger:
    """Larger random models, with the figures that transformers computed of them."""

    def __init__(self, tokenizer):
        said = json.loads((Path(__file__).parent / "larger_families.json").read_text(encoding="utf-8"))
        self.models, self.prompt, self._tokenizer = said["models"], said["prompt"], tokenizer

    def made(self, config):
        """The model that `models_golden.py` makes."""
        from lazarus_models import init_model
        from lazarus_models.backend import mx
        from lazarus_models.families import canonical
        from lazarus_models.trees import set_weights, weights

        config = canonical(config, "golden")
        lm = init_model(config, self._tokenizer, seed=0, vocab_size=config.vocab_size)
        noisy = {
            name: tensor + mx.random.normal(tensor.shape, scale=0.05, key=mx.random.key(place))
            for place, (name, tensor) in enumerate(weights(lm.model).items())
        }
        set_weights(lm.model, noisy)
        return lm.model

    def error(self, model, entry):
        """Largest difference of logits, as a share of the reference's range."""
        from lazarus_models.backend import mx

        found = np.array(model(mx.array([self.prompt]))[0, -1, : len(entry["logits"])])
        return np.abs(found - entry["logits"]).max() / entry["range"]


@pytest.fixture(scope="session")
def larger(byte_tokenizer):
    return Larger(byte_tokenizer)
