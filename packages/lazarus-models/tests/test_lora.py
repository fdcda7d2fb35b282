import json

import numpy as np
import pytest

from lazarus_models import LoraConfig, apply_lora, load, load_adapter, merge_lora, quantize, save_adapter
from lazarus_models.adapters import AdapterSet, adapter_weights, unmerge_lora
from lazarus_models.backend import mx
from lazarus_models.errors import AdapterError, ConfigError
from lazarus_models.tensor_files import load_tensors, save_tensors
from lazarus_models.trees import flatten, replace_modules, set_weights, weights

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
    from lazarus_models import init_model

    def fresh(seed):
        model = init_model("tiny-test", byte_tokenizer, seed=0).model
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
def test_a_loaded_adapter_drops_nothing(tiny, tiny_directory, tmp_path):
    apply_lora(tiny.model, LoraConfig(rank=4, dropout=0.5), seed=0)
    train_a_little(tiny.model)
    save_adapter(tiny.model, LoraConfig(rank=4, dropout=0.5), tmp_path)
    tiny.model.eval()
    expected = logits(tiny.model)
    loaded = load(tiny_directory)
    load_adapter(loaded.model, tmp_path)
    several = load(tiny_directory)
    adapters = AdapterSet(several.model)
    adapters.add("one", tmp_path)
    adapters.use("one")
    for model in (loaded.model, several.model):
        assert np.array_equal(logits(model), expected)
        model.train()
        assert not np.array_equal(logits(model), expected), "training drops inputs"


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


@pytest.mark.parametrize("bits", [None, 4])
def test_a_rank_above_a_layers_narrower_side_is_refused(tiny, bits):
    if bits:
        quantize(tiny, bits=bits, group_size=32)
    apply_lora(tiny.model, LoraConfig(rank=64, targets=("q_proj", "down_proj")), seed=0)
    merge_lora(tiny.model)
    with pytest.raises(AdapterError, match=r"`rank` 65 exceeds .*`model.layers.0.mlp.down_proj` \(176 -> 64\)"):
        apply_lora(tiny.model, LoraConfig(rank=65, targets=("q_proj", "down_proj")), seed=0)
    with pytest.raises(AdapterError, match="give at most 64"):
        apply_lora(tiny.model, LoraConfig(rank=100_000_000), seed=0)


def test_an_adapter_is_told_from_a_model(tiny, tmp_path):
    apply_lora(tiny.model, LoraConfig(rank=4), seed=0)
    save_adapter(tiny.model, LoraConfig(rank=4), tmp_path)
    with pytest.raises(ConfigError, match="an adapter, not a model"):
        load(tmp_path)


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
        AdapterError, match=r"`model\.layers\.0\.self_attn\.q_proj\.lora_a` is \(32, 4\), but the model needs \(64, 4\)"
    ):
        load_adapter(load(tiny_directory).model, adapter)


def test_an_incomplete_adapter_is_named(adapter, tiny_directory):
    tensors = load_tensors(adapter / "adapters.safetensors")
    tensors.pop("model.layers.1.self_attn.q_proj.lora_b")
    save_tensors(tensors, adapter / "adapters.safetensors")
    with pytest.raises(AdapterError, match=r"`model\.layers\.1\.self_attn\.q_proj\.lora_b` is None"):
        load_adapter(load(tiny_directory).model, adapter)


@pytest.mark.parametrize("said", [{"fine_tune_type": "full"}, {"lora_parameters": {}}, {"lora_parameters": None}])
def test_a_foreign_adapter_config_is_refused(adapter, tiny_directory, said):
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **said}), encoding="utf-8")
    with pytest.raises(AdapterError, match=r"adapter_config\.json"):
        load_adapter(load(tiny_directory).model, adapter)


@pytest.mark.parametrize("name", ["mamba", "starcoder2", "jamba", "granitemoe", "gpt_oss"])
def test_every_family_can_be_adapted_without_being_told_where(data, name):
    lm = load(data / "models/families" / name)
    before = logits(lm.model)
    apply_lora(lm.model, LoraConfig(rank=2), seed=0)
    assert np.array_equal(logits(lm.model), before)
    adapted = {tensor.rpartition(".")[0] for tensor in adapter_weights(lm.model)}
    assert adapted
    assert not any(layer.endswith(("router", "router.layer", "gate", "lm_head")) for layer in adapted)
    train_a_little(lm.model)
    learnt = logits(lm.model)
    merge_lora(lm.model)
    assert np.abs(logits(lm.model) - learnt).max() < 1e-4 * np.abs(learnt).max()


def test_targets_are_names_or_patterns(tiny):
    apply_lora(tiny.model, LoraConfig(rank=2, targets=("model.layers.1.*_proj", "q_proj")), seed=0)
    layers = {name.rpartition(".")[0] for name in adapter_weights(tiny.model)}
    assert len(layers) == 7 + 1
    assert "model.layers.0.self_attn.q_proj" in layers


def test_experts_are_adapted_when_they_are_named(data):
    lm = load(data / "models/families/mixtral")
    before = logits(lm.model)
    apply_lora(lm.model, LoraConfig(rank=2, targets=("gate_proj", "down_proj")), seed=0)
    assert np.array_equal(logits(lm.model), before)
    assert {tensor.ndim for tensor in adapter_weights(lm.model).values()} == {3}
    with pytest.raises(AdapterError, match="PEFT's layout cannot express"):
        save_adapter(lm.model, LoraConfig(rank=2), "unused", layout="peft")


def test_unmerging_gives_the_adapted_model_back_to_the_last_bit(tiny):
    apply_lora(tiny.model, LoraConfig(), seed=0)
    train_a_little(tiny.model)
    learnt = logits(tiny.model)
    adapted = merge_lora(tiny.model)
    unmerge_lora(tiny.model, adapted)
    assert np.array_equal(logits(tiny.model), learnt)
    assert list(flatten(tiny.model.trainable_parameters())) == list(adapter_weights(tiny.model))


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_merged_model_keeps_its_precision(tiny_directory, kind, dtype):
    lm = load(tiny_directory, dtype=dtype)
    apply_lora(lm.model, LoraConfig(kind=kind, rank=2), seed=0)
    merge_lora(lm.model)
    assert {tensor.dtype for tensor in weights(lm.model).values()} == {getattr(mx, dtype)}


def test_dora_starts_unchanged_and_learns_lengths(tiny, tmp_path):
    before = logits(tiny.model)
    config = LoraConfig(kind="dora", rank=4)
    apply_lora(tiny.model, config, seed=0)
    assert np.abs(logits(tiny.model) - before).max() < 1e-5
    assert sum(name.endswith(".m") for name in adapter_weights(tiny.model)) == 14
    set_weights(tiny.model, {name: tensor * 1.5 for name, tensor in adapter_weights(tiny.model).items()})
    learnt = logits(tiny.model)
    save_adapter(tiny.model, config, tmp_path)
    adapted = merge_lora(tiny.model)
    assert np.abs(logits(tiny.model) - learnt).max() < 1e-4
    replace_modules(tiny.model, {name: layer.linear for name, layer in adapted.items()})
    assert load_adapter(tiny.model, tmp_path).kind == "dora"
    assert np.array_equal(logits(tiny.model), learnt)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_pefts_layout_comes_back(tiny, tiny_directory, tmp_path, kind):
    config = LoraConfig(kind=kind, rank=4, alpha=12.0, targets=("q_proj", "down_proj"))
    apply_lora(tiny.model, config, seed=0)
    train_a_little(tiny.model)
    save_adapter(tiny.model, config, tmp_path / "peft", layout="peft")
    stored = load_tensors(tmp_path / "peft/adapter_model.safetensors")
    assert stored["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"].shape == (4, 64)
    assert stored["base_model.model.model.layers.0.mlp.down_proj.lora_B.weight"].shape == (64, 4)
    again = load(tiny_directory)
    assert load_adapter(again.model, tmp_path / "peft").alpha == 12.0
    assert np.array_equal(logits(again.model), logits(tiny.model))


def test_a_directory_of_both_layouts_has_the_files_of_each(tiny, tiny_directory, tmp_path):
    config = LoraConfig(rank=4, alpha=12.0, targets=("q_proj", "down_proj"))
    apply_lora(tiny.model, config, seed=0)
    train_a_little(tiny.model)
    for layout in ("mlx-lm", "peft", "both"):
        save_adapter(tiny.model, config, tmp_path / layout, layout=layout)
    said = {
        layout: json.loads((tmp_path / layout / "adapter_config.json").read_text()) for layout in ("mlx-lm", "peft")
    }
    both = json.loads((tmp_path / "both/adapter_config.json").read_text())
    assert both == said["mlx-lm"] | said["peft"]
    for layout, file in (("mlx-lm", "adapters.safetensors"), ("peft", "adapter_model.safetensors")):
        assert (tmp_path / "both" / file).read_bytes() == (tmp_path / layout / file).read_bytes()
    again = load(tiny_directory)
    assert load_adapter(again.model, tmp_path / "both").alpha == 12.0
    assert np.array_equal(logits(again.model), logits(tiny.model))


def test_several_adapters_share_one_model(tiny, tiny_directory, tmp_path):
    expected = {None: logits(tiny.model)}
    for seed, targets in ((1, ("q_proj",)), (2, ("q_proj", "up_proj"))):
        lm = load(tiny_directory)
        config = LoraConfig(rank=2, targets=targets)
        apply_lora(lm.model, config, seed=seed)
        train_a_little(lm.model)
        save_adapter(lm.model, config, tmp_path / str(seed))
        expected[str(seed)] = logits(lm.model)
    adapters = AdapterSet(tiny.model)
    for name in ("1", "2"):
        adapters.add(name, tmp_path / name)
    for name in ("2", None, "1", "2", None):
        adapters.use(name)
        assert np.array_equal(logits(tiny.model), expected[name])
    with pytest.raises(AdapterError, match="no adapter '3'; there are 1, 2"):
        adapters.use("3")
