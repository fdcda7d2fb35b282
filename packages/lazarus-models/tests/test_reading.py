import hashlib

import numpy as np
import pytest

from lazarus_models import load
from lazarus_models.backend import mx
from lazarus_models.errors import WeightsError
from lazarus_models.loading import HashedFiles, load_hashed, loaded_files
from lazarus_models.tensor_files import load_tensors, save_tensors
from lazarus_models.trees import weights


def some():
    return {
        "b": mx.arange(6, dtype=mx.float32).reshape(2, 3),
        "a": mx.array([1.5, -2.0], dtype=mx.bfloat16),
        "c": mx.array(7, dtype=mx.uint64),
        "yes": mx.array([True, False]),
        "none": mx.zeros((0, 3)),
    }


def test_what_is_read_once_is_what_is_read_plainly_and_its_digest_that_of_the_file(tmp_path):
    path = tmp_path / "x.safetensors"
    save_tensors(some(), path)
    tensors, digest = load_hashed(path)
    plain = load_tensors(path)
    assert list(tensors) == list(plain)
    for name, tensor in plain.items():
        assert (tensors[name].dtype, tensors[name].shape) == (tensor.dtype, tensor.shape)
        assert mx.array_equal(tensors[name], tensor)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("cut", [1, 8, 40, -1, -17])
def test_a_file_that_ends_early_or_late_is_refused(tmp_path, cut):
    path = tmp_path / "x.safetensors"
    save_tensors(some(), path)
    content = path.read_bytes()
    path.write_bytes(content[:cut] if cut > 0 else content + b"x" * -cut)
    with pytest.raises(WeightsError):
        load_hashed(path)


def test_weights_that_change_between_header_and_data_are_hashed_as_they_are_loaded(tmp_path):
    path = tmp_path / "x.safetensors"
    save_tensors({"a": mx.zeros((4,))}, path)
    with HashedFiles() as files:
        files.header(path)
        content = bytearray(path.read_bytes())
        content[-16:] = np.ones(4, dtype="<f4").tobytes()
        with path.open("r+b") as stream:
            stream.write(content)
        assert mx.array_equal(files.tensors(path)["a"], mx.ones((4,)))
        assert files.digests == {path.name: hashlib.sha256(content).hexdigest()}


def test_weights_that_are_exchanged_after_they_were_opened_are_not_loaded(tmp_path):
    path, other = tmp_path / "x.safetensors", tmp_path / "other.safetensors"
    save_tensors({"a": mx.zeros((4,))}, path)
    save_tensors({"a": mx.ones((4,))}, other)
    with HashedFiles() as files:
        files.header(path)
        other.replace(path)
        assert mx.array_equal(files.tensors(path)["a"], mx.zeros((4,)))


def test_a_model_that_is_hashed_while_it_is_loaded_is_the_same_model(tiny_directory):
    model = tiny_directory
    (model / "generation_config.json").write_text('{"eos_token_id": 2}')
    hashed, plain = load(model, hashed=True), load(model)
    assert all(mx.array_equal(tensor, weights(hashed.model)[name]) for name, tensor in weights(plain.model).items())
    assert plain.digests == {}
    assert hashed.digests == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in loaded_files(model)}
    assert set(hashed.digests) == {"config.json", "generation_config.json", "model.safetensors"}
