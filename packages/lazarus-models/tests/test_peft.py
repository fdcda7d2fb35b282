"""Adapters of PEFT and adapters on their base; golden/make_peft.py made the numbers with PEFT 0.21."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from lazarus_models import LoraConfig, apply_lora, load, load_adapter, merge_lora, save, save_adapter
from lazarus_models.adapters import AdapterSet
from lazarus_models.adapters.base_digest import base_digest
from lazarus_models.backend import mx
from lazarus_models.cli.app import app
from lazarus_models.errors import AdapterError
from lazarus_models.tensor_files import read_metadata
from lazarus_models.trees import set_weights, weights

GOLDEN = json.loads((Path(__file__).parent / "golden" / "peft.json").read_text("utf-8"))
CASES: dict[str, Any] = GOLDEN["cases"]


def write(folder: Path, case: dict[str, Any], **members: Any) -> Path:
    """An adapter of PEFT, with the values that make_peft.py draws."""
    drawn: dict[str, Any] = {}
    for number, (name, shape) in enumerate(sorted(case["shapes"].items())):
        values = np.random.default_rng(number).standard_normal(shape).astype(np.float32)
        drawn[name] = 1 + np.abs(values) if "magnitude" in name else values * np.float32(0.1)
    folder.mkdir()
    save_file(drawn, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(case["config"] | members))
    return folder


def last_logits(model: Any) -> Any:
    return np.array(model(mx.array([GOLDEN["ids"]]))[0, -1].astype(mx.float32))[:64]


@pytest.mark.parametrize("name", CASES)
def test_an_adapter_of_peft_computes_what_peft_computes(data: Path, tmp_path: Path, name: str):
    lm = load(data / "models" / "families" / "llama")
    load_adapter(lm.model, write(tmp_path / "a", CASES[name]))
    expected = np.array(CASES[name]["logits"])
    assert np.abs(last_logits(lm.model) - expected).max() < 2e-5 * np.ptp(expected)
    merge_lora(lm.model)
    assert np.abs(last_logits(lm.model) - expected).max() < 2e-5 * np.ptp(expected)


def test_an_adapter_with_patterns_can_be_saved_again(data: Path, tmp_path: Path):
    base = data / "models" / "families" / "llama"
    first, again = load(base), load(base)
    config = load_adapter(first.model, write(tmp_path / "a", CASES["patterns, rslora"]))
    save_adapter(first.model, config, tmp_path / "b", layout="peft")
    load_adapter(again.model, tmp_path / "b")
    assert np.abs(last_logits(first.model) - last_logits(again.model)).max() < 1e-5


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("modules_to_save", ["lm_head"]),
        ("bias", "all"),
        ("lora_bias", True),
        ("target_parameters", ["mlp.experts.gate_up_proj"]),
        ("trainable_token_indices", [3]),
        ("layer_replication", [[0, 2]]),
        ("init_lora_weights", "pissa"),
        ("use_qalora", True),
        ("alora_invocation_tokens", [1]),
        ("a_member_of_a_later_version", {"x": 1}),
    ],
)
def test_a_setting_that_is_not_done_is_refused_by_name(data: Path, tmp_path: Path, member: str, value: Any):
    lm = load(data / "models" / "families" / "llama")
    with pytest.raises(AdapterError, match=f"`{member}`") as caught:
        load_adapter(lm.model, write(tmp_path / "a", CASES["plain"], **{member: value}))
    assert caught.value.code == "LM-E138"


@pytest.mark.parametrize("members", [{"rank_pattern": {"q_proj": 0}}, {"alpha_pattern": [1]}, {"r": True}])
def test_patterns_that_are_no_numbers_are_refused(data: Path, tmp_path: Path, members: dict[str, Any]):
    lm = load(data / "models" / "families" / "llama")
    with pytest.raises(AdapterError) as caught:
        load_adapter(lm.model, write(tmp_path / "a", CASES["plain"], **members))
    assert caught.value.code == "LM-E132"


def test_a_rank_that_the_tensors_do_not_have_is_named(data: Path, tmp_path: Path):
    lm = load(data / "models" / "families" / "llama")
    with pytest.raises(AdapterError, match=r"q_proj.lora_a` is \(64, 4\), the config gives the layer rank 2"):
        load_adapter(lm.model, write(tmp_path / "a", CASES["plain"], rank_pattern={"q_proj": 2}))


@pytest.fixture
def adapter(tiny: Any, tmp_path: Path, tiny_directory: Path) -> Path:
    """An adapter of the tiny model."""
    lm = load(tiny_directory)
    config = LoraConfig(rank=2, targets=("q_proj",))
    apply_lora(lm.model, config, seed=1)
    save_adapter(lm.model, config, tmp_path / "adapter")
    return tmp_path / "adapter"


def changed(directory: Path, name: str) -> Any:
    """The model of a directory with one number of a weight changed."""
    lm = load(directory)
    tensor = weights(lm.model)[name]
    where = mx.arange(tensor.size).reshape(tensor.shape) == tensor.size - 1
    set_weights(lm.model, dict(weights(lm.model)) | {name: mx.where(where, tensor + 1, tensor)})
    return lm.model


@pytest.mark.parametrize("place", [0, 1, -1])
def test_an_adapter_is_refused_on_another_base(adapter: Path, tiny_directory: Path, place: int):
    model = changed(tiny_directory, sorted(weights(load(tiny_directory).model))[place])
    with pytest.raises(AdapterError, match="another base model") as caught:
        load_adapter(model, adapter)
    assert caught.value.code == "LM-E139"
    with pytest.raises(AdapterError, match="another base model"):
        AdapterSet(model).add("a", adapter)
    load_adapter(model, adapter, any_base=True)


@pytest.mark.parametrize(
    "command", ["infer --max-tokens 1 -p x --raw", "convert -o made", "eval run --task perplexity=x.txt"]
)
def test_a_command_names_the_option_for_another_base(adapter: Path, tiny_directory: Path, tmp_path: Path, command: str):
    other = load(tiny_directory)
    set_weights(other.model, {name: tensor + 1 for name, tensor in weights(other.model).items()})
    save(other, tmp_path / "other")
    words = [*command.replace("made", str(tmp_path / "made")).split(), "-m", tmp_path / "other", "--adapter", adapter]
    error = CliRunner().invoke(app, [*map(str, words)]).exception
    assert isinstance(error, AdapterError) and error.message.endswith("load it on its own base, or give --any-base")


def test_an_adapter_loads_on_its_base_in_any_precision(adapter: Path, tiny_directory: Path):
    load_adapter(load(tiny_directory).model, adapter)
    AdapterSet(load(tiny_directory).model).add("a", adapter)


def test_the_digest_ignores_adapters_and_precision(tiny_directory: Path):
    model = load(tiny_directory, dtype="bfloat16").model
    plain = base_digest(model)
    set_weights(model, {name: tensor.astype(mx.float32) for name, tensor in weights(model).items()})
    assert base_digest(model) == plain
    apply_lora(model, LoraConfig(rank=2, kind="dora", targets=("q_proj", "down_proj")), seed=1)
    assert base_digest(model) == plain


def test_two_weights_that_change_places_change_the_digest(tiny_directory: Path):
    model = load(tiny_directory).model
    before = base_digest(model)
    name = next(name for name in sorted(weights(model)) if name.endswith("q_proj.weight"))
    set_weights(model, dict(weights(model)) | {name: weights(model)[name][::-1]})
    assert base_digest(model) != before


def test_adapters_of_other_tools_have_no_base_and_load(adapter: Path, tiny_directory: Path):
    file = adapter / "adapters.safetensors"
    assert "lazarus_base" in read_metadata(file)
    save_file(load_file(file), file)
    load_adapter(changed(tiny_directory, "model.norm.weight"), adapter)
