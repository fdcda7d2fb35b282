import json

import numpy as np
import pytest

from lazarus_models import (
    AdapterError,
    LoraConfig,
    adapter_weights,
    apply_lora,
    load,
    load_adapter,
    load_tensors,
    merge_lora,
    save_adapter,
    save_tensors,
    set_weights,
    weights,
)
from lazarus_models.backend import mx
from lazarus_models.parameters import flatten

IDS = [[1, 72, 101, 108, 108, 111]]


def logits(model):
    return np.array(model(mx.array(IDS)))


def train_a_little(model):
    """Puts numbers where training would."""
    trained = {
        name: mx.random.normal(tensor.shape, scale=0.1, key=mx.random.key(index))
        for index, (name, tensor) in enumerate(adapter_weights(model).items())
    }
    set_weights(model, trained)


def test_logits_are_unchanged_at_the_start(tiny):
    before = logits(tiny.model)
    apply_lora(tiny.model, LoraConfig(), seed=0)
    assert np.array_equal(logits(tiny.model), before)


def test_only_a_and_b_are_trained(tiny):
    apply_lora(tiny.model, LoraConfig(rank=4, targets=("q_proj", "v_proj")), seed=0)
    trained = flatten(tiny.model.trainable_parameters())
    assert list(trained) == list(adapter_weights(tiny.model))
    assert sum(tensor.size for tensor in trained.values()) == 2 * 2 * 4 * (64 + 64)


def test_a_seed_fixes_a_whatever_was_drawn_before(byte_tokenizer):
    from lazarus_models import new

    def fresh(seed):
        model = new("tiny-test", byte_tokenizer, seed=0).model
        apply_lora(model, LoraConfig(), seed=seed)
        return adapter_weights(model)

    first = fresh(3)
    mx.random.normal((3,))
    again, other = fresh(3), fresh(4)
    assert all(mx.array_equal(first[name], again[name]) for name in first)
    assert any(not mx.array_equal(first[name], other[name]) for name in first)


def test_merged_equals_unmerged(tiny):
    apply_lora(tiny.model, LoraConfig(), seed=0)
    names = [name.replace(".linear.", ".") for name in weights(tiny.model) if not name.endswith(("lora_a", "lora_b"))]
    train_a_little(tiny.model)
    before = logits(tiny.model)
    merge_lora(tiny.model)
    assert np.abs(logits(tiny.model) - before).max() < 1e-5
    assert sorted(names) == list(weights(tiny.model)) == list(flatten(tiny.model.trainable_parameters()))


def test_the_update_is_alpha_over_rank_times_b_a(tiny):
    config = LoraConfig(rank=2, alpha=6.0, targets=("q_proj",))
    layer = tiny.model.layers[0].self_attn
    apply_lora(tiny.model, config, seed=0)
    train_a_little(tiny.model)
    x = mx.random.normal((1, 64), key=mx.random.key(0))
    by_hand = layer.q_proj.linear(x) + 3.0 * (x @ layer.q_proj.lora_a @ layer.q_proj.lora_b)
    assert mx.allclose(layer.q_proj(x), by_hand, atol=1e-6)


def test_a_saved_adapter_loads_on_its_base(tiny, tiny_directory, tmp_path):
    config = LoraConfig(rank=4, alpha=8.0, targets=("q_proj", "down_proj"))
    apply_lora(tiny.model, config, seed=0)
    train_a_little(tiny.model)
    save_adapter(tiny.model, config, tmp_path / "adapter")
    base = load(tiny_directory).model
    found = load_adapter(base, tmp_path / "adapter")
    assert (found.rank, found.alpha, set(found.targets)) == (4, 8.0, {"q_proj", "down_proj"})
    assert np.array_equal(logits(base), logits(tiny.model))


@pytest.mark.slow
def test_mlx_lm_opens_the_adapter_we_write_and_we_open_its(tiny, tiny_directory, tmp_path):
    import mlx_lm
    from mlx_lm.tuner.utils import linear_to_lora_layers

    config = LoraConfig(rank=4, targets=("q_proj", "gate_proj"))
    apply_lora(tiny.model, config, seed=0)
    train_a_little(tiny.model)
    save_adapter(tiny.model, config, tmp_path / "adapter")
    theirs, _ = mlx_lm.load(str(tiny_directory), adapter_path=str(tmp_path / "adapter"))
    assert np.array_equal(np.array(theirs(mx.array(IDS))), logits(tiny.model))

    model, _ = mlx_lm.load(str(tiny_directory))
    model.freeze()
    parameters = {"rank": 4, "scale": 20.0, "dropout": 0.0}
    linear_to_lora_layers(model, 1, parameters)  # every linear layer of the last block
    train_a_little(model)
    said = {"fine_tune_type": "lora", "num_layers": 1, "lora_parameters": parameters}
    (tmp_path / "theirs").mkdir()
    save_tensors(flatten(model.trainable_parameters()), tmp_path / "theirs/adapters.safetensors")
    (tmp_path / "theirs/adapter_config.json").write_text(json.dumps(said), encoding="utf-8")
    ours = load(tiny_directory).model
    load_adapter(ours, tmp_path / "theirs")
    assert np.array_equal(logits(ours), logits(model))


def test_a_target_that_is_no_layer_is_named(tiny):
    with pytest.raises(AdapterError, match=r"\['qproj'\] name no linear layer of this model; it has \['down_proj'"):
        apply_lora(tiny.model, LoraConfig(targets=("qproj", "v_proj")), seed=0)


def test_lora_is_applied_once_and_merged_once(tiny):
    with pytest.raises(AdapterError, match="no LoRA layers"):
        merge_lora(tiny.model)
    apply_lora(tiny.model, LoraConfig(), seed=0)
    with pytest.raises(AdapterError):
        apply_lora(tiny.model, LoraConfig(), seed=0)


@pytest.fixture
def adapter(tiny_directory, tiny, tmp_path):
    config = LoraConfig(rank=4, targets=("q_proj",))
    apply_lora(tiny.model, config, seed=0)
    save_adapter(tiny.model, config, tmp_path / "adapter")
    return tmp_path / "adapter"


def test_an_adapter_of_another_shape_is_named(adapter, tiny_directory):
    tensors = load_tensors(adapter / "adapters.safetensors")
    tensors["model.layers.0.self_attn.q_proj.lora_a"] = mx.ones((32, 4))
    save_tensors(tensors, adapter / "adapters.safetensors")
    with pytest.raises(
        AdapterError, match=r"`model\.layers\.0\.self_attn\.q_proj\.lora_a` is \(32, 4\), the model needs \(64, 4\)"
    ):
        load_adapter(load(tiny_directory).model, adapter)


def test_an_incomplete_adapter_is_named(adapter, tiny_directory):
    tensors = load_tensors(adapter / "adapters.safetensors")
    tensors.pop("model.layers.1.self_attn.q_proj.lora_b")
    save_tensors(tensors, adapter / "adapters.safetensors")
    with pytest.raises(AdapterError, match=r"`model\.layers\.1\.self_attn\.q_proj\.lora_b` is None"):
        load_adapter(load(tiny_directory).model, adapter)


@pytest.mark.parametrize("said", [{"fine_tune_type": "dora"}, {"lora_parameters": {}}, {"lora_parameters": None}])
def test_a_foreign_adapter_config_is_refused(adapter, tiny_directory, said):
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **said}), encoding="utf-8")
    with pytest.raises(AdapterError, match=r"adapter_config\.json"):
        load_adapter(load(tiny_directory).model, adapter)
