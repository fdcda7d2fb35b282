import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lazarus_models import load, save
from lazarus_models.backend import mx
from lazarus_models.errors import WeightsError
from lazarus_models.trees import weights

IDS = [[1, 72, 101, 108]]
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


def logits(lm: Any) -> Any:
    return np.array(lm.model(mx.array(IDS)).astype(mx.float32))


@pytest.fixture
def tied(tiny_directory: Path, tmp_path: Path) -> Path:
    """A checkpoint with tied embeddings."""
    config = json.loads((tiny_directory / "config.json").read_text())
    (tiny_directory / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    tensors = load_file(tiny_directory / "model.safetensors")
    tensors.pop(HEAD, None)
    save_file(tensors, tiny_directory / "model.safetensors", {"format": "pt"})
    return tiny_directory


def add_head(folder: Path, factor: float) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors[HEAD] = tensors[EMBEDDING] * np.float32(factor)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def shard(folder: Path, **placed: dict[str, Any]) -> None:
    """Splits the weights; `a` and `b` are what the two files hold, the index places the rest by `a` before `b`."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = {"a.safetensors": placed["a"], "b.safetensors": tensors | placed["b"]}
    for name, held in files.items():
        save_file(held, folder / name, {"format": "pt"})
    index = dict.fromkeys(tensors, "b.safetensors") | placed.get("index", {})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))


def test_a_stored_head_that_differs_is_used_and_stays_in_what_is_saved(
    tied: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    plain = logits(load(tied))
    add_head(tied, 3.0)
    lm = load(tied)
    np.testing.assert_allclose(logits(lm), 3 * plain, rtol=1e-5, atol=1e-5)
    assert lm.config.tie_word_embeddings is False and HEAD in weights(lm.model)
    assert "stores a head that differs from the embedding" in caplog.text
    save(lm, tmp_path / "saved")
    assert np.array_equal(logits(load(tmp_path / "saved")), logits(lm))
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["tie_word_embeddings"] is False


def test_a_stored_copy_of_the_embedding_stays_tied(tied: Path, caplog: pytest.LogCaptureFixture):
    plain = logits(load(tied))
    add_head(tied, 1.0)
    lm = load(tied)
    assert lm.config.tie_word_embeddings and HEAD not in weights(lm.model) and not caplog.text
    assert np.array_equal(logits(lm), plain)


def test_the_index_decides_which_of_two_files_a_tensor_is_read_from(tied: Path):
    plain = logits(load(tied))
    stale = {"model.norm.weight": load_file(tied / "model.safetensors")["model.norm.weight"] * 0}
    shard(tied, a={}, b={})
    index = json.loads((tied / "model.safetensors.index.json").read_text())
    layer = "model.layers.0.input_layernorm.weight"
    for name in ("a.safetensors", "c.safetensors"):
        kept = load_file(tied / "b.safetensors")[layer]
        save_file(stale | {layer: kept}, tied / name, {"format": "pt"})
        index["weight_map"][layer] = name
        (tied / "model.safetensors.index.json").write_text(json.dumps(index))
        assert np.array_equal(logits(load(tied)), plain)


def test_an_index_that_places_a_tensor_wrongly_is_named(tied: Path):
    shard(tied, a={"unused": np.zeros(1, np.float32)}, b={}, index={"model.norm.weight": "a.safetensors"})
    with pytest.raises(WeightsError, match=r"assigns `model.norm.weight` to a.safetensors, which lacks it") as caught:
        load(tied)
    assert caught.value.code == "LM-E122"


def test_a_single_file_beside_an_index_is_named(tied: Path, caplog: pytest.LogCaptureFixture):
    (tied / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "x.safetensors"}}))
    with caplog.at_level(logging.WARNING):
        load(tied)
    assert "using model.safetensors, as transformers does; model.safetensors.index.json" in caplog.text
