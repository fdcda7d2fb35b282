import json

import numpy as np
import pytest

from lazarus_models import LoraConfig, apply_lora, load, save
from lazarus_models.backend import mx
from lazarus_models.errors import ConfigError, WeightsError
from lazarus_models.tensor_files import load_tensors, save_tensors
from lazarus_models.trees import weights

IDS = [[72, 101, 108, 108, 111]]


def logits(lm):
    return np.array(lm.model(mx.array(IDS)))


def edit_config(directory, **changes):
    file = directory / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def edit_weights(directory, change):
    tensors = load_tensors(directory / "model.safetensors")
    change(tensors)
    save_tensors(tensors, directory / "model.safetensors")


def test_save_then_load_gives_the_same_model(tiny, tiny_directory):
    again = load(tiny_directory)
    assert np.array_equal(logits(again), logits(tiny))
    assert again.tokenizer.encode("né") == tiny.tokenizer.encode("né")
    assert (again.family, again.path) == ("llama", tiny_directory)


def test_equal_models_are_equal_bytes(tiny, tiny_directory, tmp_path):
    save(load(tiny_directory), tmp_path / "again")
    save(load(tmp_path / "again"), tmp_path / "third")
    files = sorted(file.name for file in tiny_directory.iterdir())
    assert sorted(file.name for file in (tmp_path / "third").iterdir()) == files
    for name in files:
        assert (tmp_path / "third" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert (tmp_path / "again/model.safetensors").read_bytes() == (tiny_directory / "model.safetensors").read_bytes()


def test_saving_over_a_model_replaces_it(tiny, tiny_directory, byte_tokenizer):
    from lazarus_models import init_model

    other = init_model("tiny-test", byte_tokenizer, seed=1)
    save(other, tiny_directory)
    assert np.array_equal(logits(load(tiny_directory)), logits(other))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stories260k", "families/llama", "families/llama3-rope"])
def test_mlx_lm_opens_what_we_write(data, tmp_path, name):
    import mlx_lm

    lm = load(data / "models" / name)
    save(lm, tmp_path / "saved")
    model, _ = mlx_lm.load(str(tmp_path / "saved"))
    assert np.array_equal(np.array(model(mx.array(IDS))), logits(lm))


@pytest.mark.slow
def test_transformers_reads_the_config_we_write(data, tmp_path):
    from transformers import AutoConfig

    save(load(data / "models/families/llama3-rope"), tmp_path / "saved")
    ours = AutoConfig.from_pretrained(tmp_path / "saved").to_dict()
    theirs = AutoConfig.from_pretrained(data / "models/families/llama3-rope").to_dict()
    assert {key: ours[key] for key in theirs if not key.startswith("_")} == {
        key: value for key, value in theirs.items() if not key.startswith("_")
    }


def test_generation_config_is_kept_and_its_ends_are_obeyed(stories, tmp_path):
    save(stories, tmp_path / "saved")
    assert load(tmp_path / "saved").stop_ids == stories.stop_ids == (1, 2)


def test_sharded_weights_are_read(tiny, tiny_directory):
    tensors = load_tensors(tiny_directory / "model.safetensors")
    names = sorted(tensors)
    placed = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(names)}
    for file in set(placed.values()):
        save_tensors({name: tensors[name] for name in names if placed[name] == file}, tiny_directory / file)
    (tiny_directory / "model.safetensors").unlink()
    index = tiny_directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": placed}), encoding="utf-8")
    assert np.array_equal(logits(load(tiny_directory)), logits(tiny))
    (tiny_directory / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model-00002-of-00002\.safetensors of .* are missing"):
        load(tiny_directory)


def test_weights_are_float32_on_a_cpu_whatever_the_file_says(tiny_directory):
    edit_weights(tiny_directory, lambda t: t.update({name: tensor.astype(mx.bfloat16) for name, tensor in t.items()}))
    edit_config(tiny_directory, dtype="bfloat16", torch_dtype="bfloat16")
    lm = load(tiny_directory)
    expected = mx.float32 if mx.default_device().type == mx.cpu else mx.bfloat16
    assert {tensor.dtype for tensor in weights(lm.model).values()} == {expected}
    assert {tensor.dtype for tensor in weights(load(tiny_directory, dtype="float16").model).values()} == {mx.float16}
    save(load(tiny_directory, dtype="float32"), tiny_directory)
    assert json.loads((tiny_directory / "config.json").read_text(encoding="utf-8"))["torch_dtype"] == "float32"


def test_what_the_model_computes_itself_is_left_in_the_file(tiny, tiny_directory):
    def add(tensors):
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = mx.ones(8)
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]

    edit_weights(tiny_directory, add)
    assert np.array_equal(logits(load(tiny_directory)), logits(tiny))


def test_a_missing_tensor_is_named(tiny_directory):
    edit_weights(tiny_directory, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(WeightsError, match=r"`model\.layers\.1\.mlp\.up_proj\.weight`, which the weights lack"):
        load(tiny_directory)


def test_an_untied_head_that_is_absent_asks_for_the_tie(tiny_directory):
    edit_config(tiny_directory, tie_word_embeddings=False)
    with pytest.raises(WeightsError, match="should `tie_word_embeddings` be true"):
        load(tiny_directory)


def test_an_extra_tensor_is_named(tiny_directory):
    edit_weights(tiny_directory, lambda tensors: tensors.update({"model.layers.2.mlp.up_proj.weight": mx.ones((2, 2))}))
    with pytest.raises(WeightsError, match=r"`model\.layers\.2\.mlp\.up_proj\.weight`, which config\.json does not"):
        load(tiny_directory)


def test_a_misshapen_tensor_is_named_with_both_shapes(tiny_directory):
    edit_weights(tiny_directory, lambda tensors: tensors.update({"model.norm.weight": mx.ones(63)}))
    with pytest.raises(WeightsError, match=r"`model\.norm\.weight` is \(63,\), but config\.json describes \(64,\)"):
        load(tiny_directory)


def test_an_integer_tensor_is_refused(tiny_directory):
    edit_weights(tiny_directory, lambda tensors: tensors.update({"model.norm.weight": mx.ones(64, dtype=mx.int8)}))
    with pytest.raises(WeightsError, match=r"`model\.norm\.weight` is I8; supported are F32, F16, BF16"):
        load(tiny_directory)


def test_truncated_weights_are_refused(tiny_directory):
    file = tiny_directory / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="truncated"):
        load(tiny_directory)


def test_pickles_are_refused_by_name(tiny_directory):
    (tiny_directory / "model.safetensors").rename(tiny_directory / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"pickles \(pytorch_model\.bin\)"):
        load(tiny_directory)


def test_absent_weights_config_and_directory_are_named(tiny_directory):
    (tiny_directory / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"no model\.safetensors"):
        load(tiny_directory)
    (tiny_directory / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"config\.json does not exist"):
        load(tiny_directory)
    with pytest.raises(ConfigError, match="absent does not exist: give a directory"):
        load(tiny_directory / "absent")


def test_unmerged_lora_is_not_saved_as_a_model(tiny, tmp_path):
    apply_lora(tiny.model, LoraConfig(), seed=0)
    with pytest.raises(WeightsError, match="`merge_lora` first"):
        save(tiny, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_an_interrupted_save_leaves_nothing(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "lazarus_models.loading.huggingface._write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        save(tiny, tmp_path / "saved")
    assert [each.name for each in tmp_path.iterdir() if "saved" in each.name] == []
