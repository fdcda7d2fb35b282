import json
import math
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_core.errors import LazarusError
from lazarus_models import init_model, load, save
from lazarus_models.backend import mx
from lazarus_models.config.architecture import MAX_LAYERS
from lazarus_models.config.huggingface import read_json
from lazarus_models.errors import ConfigError, ModelsError, WeightsError
from lazarus_models.loading.finite import is_finite
from lazarus_models.loading.gguf import export_gguf
from lazarus_models.loading.hub import own_file
from lazarus_models.tensor_files import load_tensors, read_header, save_tensors
from lazarus_tokenkit import load_tokenizer


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "nano"
    save(init_model("nano", load_tokenizer("byte"), seed=0), folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "nano"))


def edit(folder: Path, **members: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | members))


def refusal(call: Callable[[], object]) -> LazarusError:
    with pytest.raises(LazarusError) as caught:
        call()
    assert "\n" not in caught.value.message and len(caught.value.message) < 2100
    return caught.value


@pytest.mark.parametrize("layers", [3, 100, MAX_LAYERS, MAX_LAYERS + 1, 10**5, 10**9, 2**63])
def test_layers_beyond_those_of_the_weights_are_refused_before_a_layer_is_built(
    folder: Path, layers: int, monkeypatch: pytest.MonkeyPatch
):
    edit(folder, num_hidden_layers=layers)
    monkeypatch.setattr("lazarus_models.families.family.Decoder", None)  # building would fail otherwise
    assert "num_hidden_layers" in refusal(lambda: load(folder)).message


@pytest.mark.parametrize("name", ["hidden_size", "intermediate_size", "vocab_size", "num_attention_heads", "head_dim"])
@pytest.mark.parametrize("size", [2**20, 2**31, 10**12, 2**63])
def test_sizes_beyond_the_weights_are_refused_before_anything_is_built(
    folder: Path, name: str, size: int, monkeypatch: pytest.MonkeyPatch
):
    edit(folder, **{name: size})
    monkeypatch.setattr("lazarus_models.families.family.Decoder", None)
    error = refusal(lambda: load(folder))
    assert error.code in ("LM-E103", "LM-E109", "LM-E125")


def test_a_new_model_beyond_memory_or_the_bounds_is_refused():
    tokenizer = load_tokenizer("byte")
    assert refusal(lambda: init_model("nano", tokenizer, seed=0, vocab_size=2**31 - 1)).code == "LM-E109"
    assert refusal(lambda: init_model("nano", tokenizer, seed=0, vocab_size=2**62)).code == "LM-E109"


@pytest.mark.parametrize(
    "name",
    ["../x.safetensors", "/x.safetensors", ".", "..", "", "a\0.safetensors", "x.bin", "d/x.safetensors", 5, None, []],
)
def test_an_index_names_plain_files_of_its_own_folder(folder: Path, name: Any):
    shutil.copy(folder / "model.safetensors", folder.parent / "x.safetensors")
    (folder / "model.safetensors").unlink()
    names = read_header(folder.parent / "x.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(names, name)}))
    assert refusal(lambda: load(folder)).code in ("LM-E122", "LM-E129")


def test_links_lead_into_the_folder_or_to_the_blobs_of_the_hubs_cache(folder: Path):
    repository = folder.parent / "models--a--b"
    snapshot, blobs = repository / "snapshots" / "abc", repository / "blobs"
    shutil.copytree(folder, snapshot)
    blobs.mkdir()
    (snapshot / "model.safetensors").rename(blobs / "0123")
    (snapshot / "model.safetensors").symlink_to("../../blobs/0123")
    assert load(snapshot).family == "llama"
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    (folder / "model.safetensors").symlink_to("other.safetensors")
    assert load(folder).family == "llama"


@pytest.mark.parametrize("target", ["../outside.safetensors", "/etc/passwd", "loop"])
def test_links_out_of_the_folder_are_refused(folder: Path, target: str):
    shutil.copy(folder / "model.safetensors", folder.parent / "outside.safetensors")
    link = folder / "model.safetensors"
    link.unlink()
    link.symlink_to(link.name if target == "loop" else target)
    if target == "loop":
        assert refusal(lambda: load(folder)).code in ("LM-E120", "LM-E129")
    else:
        assert refusal(lambda: own_file(folder, link.name)).code == "LM-E129"
        assert refusal(lambda: load(folder)).code == "LM-E129"


def test_a_pipe_in_the_place_of_a_file_is_refused_at_once(folder: Path):
    for name in ("model.safetensors", "config.json"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        assert "a named pipe" in refusal(lambda: load(folder)).message


@pytest.mark.parametrize(
    "content",
    [
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b"",
        b"[]",
        b'{"a":NaN}',
        b'{"a":1,"a":2}',
        b'{"a":"\\ud800"}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":1e400}',
        b"\xff\xfe{",
        b'{"a":1,}',
    ],
)
@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "model.safetensors.index.json"])
def test_hostile_json_is_one_line_that_names_the_file(folder: Path, name: str, content: bytes):
    (folder / name).write_bytes(content)
    if name.endswith("index.json"):
        (folder / "model.safetensors").unlink()
    assert name in refusal(lambda: load(folder)).message


def test_a_byte_order_mark_before_a_config_is_skipped(folder: Path):
    file = folder / "config.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert load(folder).family == "llama"


def test_infinity_as_transformers_writes_it_is_read_where_it_is_meant(tmp_path: Path):
    for spelled in ('{"__float__":"Infinity"}', "Infinity"):  # transformers 5 and 4
        (tmp_path / "c.json").write_text(f'{{"time_step_limit":[0.0,{spelled}]}}')
        assert read_json(tmp_path / "c.json") == {"time_step_limit": [0.0, math.inf]}
        (tmp_path / "c.json").write_text(f'{{"rms_norm_eps":{spelled}}}')
        assert "`rms_norm_eps`" in refusal(lambda: read_json(tmp_path / "c.json")).message


def test_a_header_that_names_a_tensor_twice_is_refused(tmp_path: Path):
    save_tensors({"a": mx.zeros((4,))}, tmp_path / "t.safetensors")
    content = (tmp_path / "t.safetensors").read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = content[8 : 8 + size].rstrip()
    entry = header[header.index(b'"a"') : -1]
    twice = header[:-1] + b"," + entry + b"}"
    (tmp_path / "t.safetensors").write_bytes(struct.pack("<Q", len(twice)) + twice + content[8 + size :])
    with pytest.raises(WeightsError, match="'a' occurs twice"):
        load_tensors(tmp_path / "t.safetensors")


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 10**8 + 1, 1000])
def test_a_header_beyond_the_file_or_the_bound_is_refused(tmp_path: Path, length: int):
    (tmp_path / "t.safetensors").write_bytes(struct.pack("<Q", length) + b"{}")
    assert refusal(lambda: read_header(tmp_path / "t.safetensors")).code == "LM-E121"


@given(st.lists(st.floats(width=16), min_size=1, max_size=40), st.sampled_from(["float16", "bfloat16", "float32"]))
def test_finiteness_is_that_of_numpy(values: list[float], dtype: str):
    tensor = mx.array(values).astype(getattr(mx, dtype))
    assert is_finite(tensor) == bool(np.isfinite(np.array(tensor.astype(mx.float32))).all())


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf], ids=["nan", "-nan", "inf", "-inf"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("place", [0, 131_071, 131_072, 299_999])
def test_one_number_that_is_not_finite_is_found_anywhere(value: float, dtype: str, place: int):
    numbers = np.full(300_000, -1.0, dtype=np.float32)
    numbers[place] = value
    assert not is_finite(mx.array(numbers).astype(getattr(mx, dtype)).reshape(3, 1, -1))
    numbers[place] = 2.0
    assert is_finite(mx.array(numbers).astype(getattr(mx, dtype)))


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_weights_that_are_not_finite_are_refused_by_name(folder: Path, value: float):
    tensors = load_tensors(folder / "model.safetensors")
    name = sorted(tensors)[3]
    tensors[name] = tensors[name].at[0].add(value)
    save_tensors(tensors, folder / "model.safetensors")
    error = refusal(lambda: load(folder))
    assert (error.code, f"`{name}`" in error.message) == ("LM-E128", True)


def test_a_weight_beyond_half_precision_is_refused_in_half_precision_only(folder: Path):
    tensors = load_tensors(folder / "model.safetensors")
    name = sorted(tensors)[3]
    tensors[name] = tensors[name].at[0].add(1e6)
    save_tensors(tensors, folder / "model.safetensors")
    assert load(folder).family == "llama"
    assert "as float16" in refusal(lambda: load(folder, dtype="float16")).message


@pytest.mark.slow
@given(st.data())
def test_any_edit_of_a_config_is_read_or_refused(saved: Path, data: st.DataObject):
    members = json.loads((saved / "config.json").read_text())
    name = data.draw(st.sampled_from(sorted(members)))
    values = [None, -1, 0, 1, 2**31, 2**63, 2**70, 1.5, "x", [], {}, True, [[]], {"a": 1}, "A" * 10_000]
    members[name] = data.draw(st.sampled_from(values))
    file = saved.parent / f"edited-{os.getpid()}" / "config.json"
    shutil.copytree(saved, file.parent, dirs_exist_ok=True)
    file.write_text(json.dumps(members))
    try:
        load(file.parent)
    except ModelsError as error:
        assert "\n" not in error.message


def test_gguf_refuses_numbers_that_half_precision_cannot_hold(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lm = load(folder)
    lm.model.lm_head = None if lm.config.tie_word_embeddings else lm.model.lm_head
    monkeypatch.setattr("lazarus_models.loading.gguf.export._vocabulary", lambda lm: {})
    embedding = lm.model.model.embed_tokens
    embedding.weight = embedding.weight.at[0].add(1e6)
    assert refusal(lambda: export_gguf(lm, tmp_path / "m.gguf")).code == "LM-E128"
    assert not (tmp_path / "m.gguf").exists()


def test_config_errors_are_of_this_package(folder: Path):
    edit(folder, num_hidden_layers=10**9)
    with pytest.raises(ConfigError):
        load(folder)
