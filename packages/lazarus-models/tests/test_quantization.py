import json
import shutil

import numpy as np
import pytest

from lazarus_models import GenerationConfig, LoraConfig, apply_lora, generate, load, save
from lazarus_models.adapters import adapter_weights, merge_adapter
from lazarus_models.backend import mx, nn
from lazarus_models.errors import UnsupportedModel
from lazarus_models.families import canonical, family_of
from lazarus_models.loading import perplexity, quantize
from lazarus_models.tensor_files import load_tensors, save_tensors
from lazarus_models.trees import modules, set_weights


def logits(lm):
    return np.array(lm.model(mx.array([[1, 72, 101, 108, 111]])))


@pytest.fixture
def fresh(data):
    return load(data / "models/stories260k")


@pytest.fixture(scope="module")
def text(stories, data):
    story = generate(stories, "", GenerationConfig(max_new_tokens=400, temperature=1.0, seed=1), raw=True)
    return [1, *story.ids]


@pytest.mark.thorough
def test_eight_bits_tell_the_same_story_and_cost_less_than_a_percent(fresh, text):
    before = perplexity(fresh, text)
    plain = generate(fresh, "", GenerationConfig(max_new_tokens=40), raw=True).text
    quantized = quantize(fresh, bits=8, group_size=32)
    assert perplexity(quantized, text) == pytest.approx(before, rel=0.01)
    assert generate(quantized, "", GenerationConfig(max_new_tokens=40), raw=True).text == plain


@pytest.mark.thorough
def test_fewer_bits_cost_more(data, text):
    values = []
    for bits in (8, 6, 4, 3, 2):
        values.append(perplexity(quantize(load(data / "models/stories260k"), bits=bits, group_size=32), text))
    assert values == sorted(values)


@pytest.mark.parametrize("name", ["stories260k", "families/mixtral", "families/gpt_oss", "families/granitemoehybrid"])
def test_a_quantized_model_is_saved_and_read(data, tmp_path, name):
    quantized = quantize(load(data / "models" / name), bits=4, group_size=32)
    save(quantized, tmp_path / "q")
    again = load(tmp_path / "q")
    assert np.array_equal(logits(again), logits(quantized))
    assert again.config.quantization == quantized.config.quantization
    with pytest.raises(UnsupportedModel, match="quantized already"):
        quantize(again)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stories260k", "families/mixtral", "families/olmoe", "families/qwen3"])
def test_mlx_lm_and_we_open_each_others_quantized_models(data, tmp_path, name):
    import mlx_lm

    quantized = quantize(load(data / "models" / name), bits=4, group_size=32)
    save(quantized, tmp_path / "ours")
    model, _ = mlx_lm.load(str(tmp_path / "ours"))
    ids = mx.array([[1, 72, 101, 108, 111]])
    assert np.allclose(np.array(model(ids)), logits(quantized), atol=1e-4)
    mlx_lm.convert(
        str(data / "models" / name), str(tmp_path / "theirs"), quantize=True, q_bits=4, q_group_size=32, dtype="float32"
    )
    model, _ = mlx_lm.load(str(tmp_path / "theirs"))
    assert np.allclose(np.array(model(ids)), logits(load(tmp_path / "theirs")), atol=1e-4)


def test_routers_keep_eight_bits_and_recipes_mix(data):
    quantized = quantize(load(data / "models/families/mixtral"), bits=4, group_size=32)
    router = "model.layers.0.block_sparse_moe.gate"
    assert quantized.config.quantization.layers == {
        router.replace("0", str(layer)): {"bits": 8, "group_size": 32} for layer in range(4)
    }
    mixed = quantize(load(data / "models/families/llama3-rope"), recipe="mixed_3_6", group_size=32)
    assert modules(mixed.model)["lm_head"].bits == 6
    assert {layer.bits for layer in modules(mixed.model).values() if isinstance(layer, nn.QuantizedLinear)} == {3, 6}


def test_a_quantized_model_is_adapted_merged_and_saved_as_it_answers(fresh, tmp_path):
    quantized = quantize(fresh, bits=4, group_size=32)
    before = logits(quantized)
    apply_lora(quantized.model, LoraConfig(rank=2, targets=("q_proj", "down_proj")), seed=0)
    assert np.array_equal(logits(quantized), before)
    set_weights(quantized.model, {name: each + 0.02 for name, each in adapter_weights(quantized.model).items()})
    adapted = logits(quantized)
    assert np.abs(adapted - before).max() > 1e-2
    save(merge_adapter(quantized), tmp_path)
    assert np.abs(logits(load(tmp_path)) - adapted).max() < 1e-5 * np.abs(adapted).max()
    said = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["quantization"]
    assert said["model.layers.0.self_attn.q_proj"] is said["model.layers.0.mlp.down_proj"] is False


def test_layers_that_do_not_divide_are_left(tiny):
    with pytest.raises(UnsupportedModel, match="no layer's width is a multiple of `group_size` 128"):
        quantize(tiny, group_size=128)


def test_a_config_says_which_layers(data, tmp_path):
    save(quantize(load(data / "models/stories260k"), bits=4, group_size=32, skip=("*.q_proj",)), tmp_path)
    said = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["quantization"]
    assert said["model.layers.0.self_attn.q_proj"] is False
    assert (said["bits"], said["group_size"], said["mode"]) == (4, 32, "affine")


FP4 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], dtype=np.float32)
"""E2M1 (OCP Microscaling Formats 1.0), sign in the highest bit."""


def mxfp4(weights):
    """Blocks (..., groups, 16) and scales (..., groups) of a matrix, and what they stand for."""
    groups = weights.reshape(*weights.shape[:-1], -1, 32)
    exponent = np.floor(np.log2(np.abs(groups).max(axis=-1, keepdims=True))) - 2
    codes = np.abs(groups[..., None] / 2.0 ** exponent[..., None] - FP4).argmin(axis=-1)
    blocks = (codes[..., ::2] | codes[..., 1::2] << 4).astype(np.uint8)
    meant = (FP4[codes] * 2.0**exponent).astype(np.float32).reshape(weights.shape)
    return blocks, (exponent[..., 0] + 127).astype(np.uint8), meant


def meaning(blocks, scales):
    """What bytes (..., groups, 16) and exponents (..., groups) stand for: the lower half of a byte first."""
    codes = np.stack([blocks & 15, blocks >> 4], axis=-1).reshape(*blocks.shape[:-1], 32)
    values = FP4[codes] * np.exp2(scales.astype(np.float64) - 127)[..., None]
    return values.reshape(*blocks.shape[:-2], -1)


@pytest.mark.parametrize("seed", range(3))
def test_random_bytes_mean_what_the_format_says(data, seed):
    config = json.loads((data / "models/families/gpt_oss/config.json").read_text(encoding="utf-8"))
    config = canonical({**config, "quantization_config": {"quant_method": "mxfp4"}}, "config")
    random = np.random.default_rng(seed)
    experts, rows, groups = 3, 6, 4
    blocks = random.integers(0, 256, (experts, 2 * rows, groups, 16), dtype=np.uint8)
    scales = random.integers(1, 250, (experts, 2 * rows, groups), dtype=np.uint8)
    name = "model.layers.0.mlp.experts."
    file = {f"{name}gate_up_proj_blocks": mx.array(blocks), f"{name}gate_up_proj_scales": mx.array(scales)}
    read = family_of("gpt_oss").layout_of(config).to_model(file)
    expected = meaning(blocks, scales)
    for part, first in (("gate", 0), ("up", 1)):  # rows in turn
        stored = read[f"{name}{part}_proj.weight"], read[f"{name}{part}_proj.scales"]
        found = mx.dequantize(*stored, group_size=32, bits=4, mode="mxfp4").astype(mx.float32)
        assert np.array_equal(np.array(found, np.float64), expected[:, first::2])
        chosen = {"rhs_indices": mx.arange(experts), "group_size": 32, "bits": 4, "mode": "mxfp4"}
        columns = mx.gather_qmm(mx.eye(groups * 32)[None], *stored, **chosen)  # what the experts multiply with
        assert np.array_equal(np.array(columns.swapaxes(-1, -2), np.float64), expected[:, first::2])


def test_gpt_oss_is_read_as_it_is_published(data, tmp_path):
    source = data / "models/families/gpt_oss"
    published, plain = tmp_path / "published", tmp_path / "plain"
    for folder in (published, plain):
        shutil.copytree(source, folder)
    tensors = load_tensors(source / "model.safetensors")
    packed, meant = dict(tensors), dict(tensors)
    for name in [name for name in tensors if name.endswith(("gate_up_proj", "down_proj"))]:
        blocks, scales, values = mxfp4(np.array(packed.pop(name)).swapaxes(-1, -2))
        packed |= {f"{name}_blocks": mx.array(blocks), f"{name}_scales": mx.array(scales)}
        meant[name] = mx.array(values.swapaxes(-1, -2))
    save_tensors(packed, published / "model.safetensors")
    save_tensors(meant, plain / "model.safetensors")
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}
    (published / "config.json").write_text(json.dumps(config), encoding="utf-8")
    expected, found = logits(load(plain)), load(published)
    assert np.abs(logits(found) - expected).max() < 1e-5 * np.ptp(expected)
    save(found, tmp_path / "saved")
    assert np.array_equal(logits(load(tmp_path / "saved")), logits(found))
