"""The judge: logits and greedy tokens that transformers computed for 15 small checkpoints."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from lazarus_models import (
    GenerationConfig,
    ModelFamilyType,
    ModelsError,
    RopeConfig,
    UnsupportedModel,
    WeightsError,
    generate_tokens,
    load,
    load_tensors,
    save,
    save_tensors,
    segment_caches,
    supports_packing,
)
from lazarus_models.backend import mx

FAMILIES = sorted({*ModelFamilyType, "llama3-rope"} - {"lazarus_decoder"})
UNPACKED = {"granitemoehybrid", "jamba", "llama4_text", "mamba"}


@pytest.fixture(scope="module", params=FAMILIES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def directory(name, data):
    return data / "models/families" / name


@pytest.fixture(scope="module")
def reference(directory):
    return load_file(directory / "reference.safetensors")


@pytest.fixture(scope="module")
def lm(directory):
    return load(directory)


def error(lm, reference, prompt="0"):
    """Largest difference of logits, as a share of the reference's range."""
    expected = reference[f"{prompt}.logits"]
    logits = np.array(lm.model(mx.array(reference[f"{prompt}.input_ids"])[None])[0])
    return np.abs(logits - expected).max() / np.ptp(expected)


@pytest.mark.parametrize("prompt", ["0", "1"])
def test_logits_equal_those_of_transformers(lm, reference, prompt):
    assert error(lm, reference, prompt) < 1e-4


@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy_tokens_equal_those_of_transformers(lm, reference, use_cache):
    prompt = reference["0.input_ids"].tolist()
    new = generate_tokens(lm.model, prompt, GenerationConfig(max_new_tokens=24), use_cache=use_cache)
    assert prompt + list(new) == reference["greedy"].tolist()


def test_logits_do_not_depend_on_how_the_prompt_is_cut(lm, reference):
    ids = mx.array(reference["greedy"])[None]
    whole = lm.model(ids)
    cache, start, pieces = lm.model.make_cache(), 0, []
    for size in (1, 11, 5, ids.shape[1] - 17):  # longer and shorter than the windows of 8
        pieces.append(lm.model(ids[:, start : start + size], cache=cache))
        start += size
    assert mx.abs(mx.concatenate(pieces, axis=1) - whole).max().item() < 1e-5 * (1 + mx.abs(whole).max().item())


def test_saved_files_hold_the_same_tensors_and_model(lm, directory, reference, tmp_path):
    save(lm, tmp_path / "saved")
    ours, theirs = load_file(tmp_path / "saved/model.safetensors"), load_file(directory / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    assert error(load(tmp_path / "saved"), reference) < 1e-4


@pytest.mark.slow
def test_transformers_reads_the_config_we_write(lm, directory, tmp_path):
    from transformers import AutoConfig

    save(lm, tmp_path / "saved")
    ours, theirs = (AutoConfig.from_pretrained(path).to_dict() for path in (tmp_path / "saved", directory))
    said = {key: value for key, value in theirs.items() if key[0] != "_" and value is not None}  # null: as it follows
    differing = {key: (ours.get(key), value) for key, value in said.items() if ours.get(key) != value}
    assert differing == {}


def test_packed_rows_are_exact_or_refused(lm, name, reference):
    first, second = (mx.array(reference[f"{prompt}.input_ids"]) for prompt in "01")
    labels = mx.array([[1] * first.size + [2] * second.size])
    assert supports_packing(lm) == (name not in UNPACKED)
    if name in UNPACKED:
        with pytest.raises(UnsupportedModel, match="one sample a row"):
            segment_caches(lm.model, labels)
        return
    packed = lm.model(mx.concatenate([first, second])[None], cache=segment_caches(lm.model, labels))[0]
    alone = mx.concatenate([lm.model(part[None])[0] for part in (first, second)])
    assert mx.abs(packed - alone).max().item() < 1e-5 * (1 + mx.abs(alone).max().item())


@pytest.mark.parametrize("change", ["missing", "extra", "misshapen"])
def test_tensors_that_do_not_fit_are_named(directory, tmp_path, change):
    copy = tmp_path / "model"
    shutil.copytree(directory, copy)
    tensors = load_tensors(copy / "model.safetensors")
    name = sorted(tensors)[len(tensors) // 2]
    if change == "missing":
        del tensors[name]
    elif change == "extra":
        tensors["model.layers.0.surprise.weight"] = mx.ones(3)
    else:
        tensors[name] = tensors[name][..., :-1]
    save_tensors(tensors, copy / "model.safetensors")
    with pytest.raises(WeightsError) as failure:
        load(copy)
    assert f"`{'model.layers.0.surprise.weight' if change == 'extra' else name}`" in failure.value.message


# Keys that say how a model was trained, stored or run, not what it computes.
INERT = {
    "architectures",
    "attention_dropout",
    "bos_token_id",
    "dtype",
    "embedding_dropout",
    "eos_token_id",
    "initializer_range",
    "mamba_chunk_size",  # how the same sum is cut
    "max_position_embeddings",  # where generation stops
    "output_router_logits",
    "pad_token_id",
    "pretraining_tp",
    "rescale_prenorm_residual",
    "residual_dropout",
    "residual_in_fp32",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "time_step_floor",
    "time_step_init_scheme",
    "time_step_max",
    "time_step_min",
    "time_step_scale",
    "transformers_version",
    "use_associative_scan",
    "use_cache",
    "use_mamba_kernels",
    "use_mambapy",
}
# Keys that another key of the same file outdoes.
OUTDONE = {
    "_sliding_window_pattern": "layer_types",
    "sliding_window_pattern": "layer_types",
    "max_window_layers": "layer_types",
    "use_sliding_window": "layer_types",
    "no_rope_layer_interval": "no_rope_layers",
    "interleave_moe_layer_step": "moe_layers",
    "expand": "intermediate_size",
    "mamba_expand": "mamba_d_head",
    "attn_scale": "attn_temperature_tuning",
    "floor_scale": "attn_temperature_tuning",
}


UNREAD = {("sliding_window", "qwen3")}  # null, as long as `use_sliding_window` is false
SMALLER = ("swiglu_limit", "low_freq_factor", "attn_layer_period")  # there what is larger changes nothing


def mutations(config):
    """(name, changes) for every key that decides an output."""
    for key, value in config.items():
        if key in INERT or OUTDONE.get(key) in config or (key, config["model_type"]) in UNREAD:
            continue
        if key == "rope_parameters" and config.get("position_embedding_type") == "nope":
            continue
        if key == "rope_parameters":
            nested = value if "rope_theta" not in value else {None: value}
            for kind, rope in nested.items():
                for name in rope.keys() - {"rope_type"}:
                    changed = {**rope, name: another(name, rope[name])}
                    yield f"{key}.{name}", {key: changed if kind is None else {**value, kind: changed}}
        elif key == "attn_temperature_tuning":  # felt from token `floor_scale` on
            yield key, {key: True, "floor_scale": 4}
        else:
            yield key, {key: another(key, value)}


def another(key, value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        if key == "original_max_position_embeddings":
            return value * 4
        return value + 1 if "offset" in key or value == 1 else value // 2 if value > 63 or key in SMALLER else value * 2
    if isinstance(value, float):
        return 0.5 if "eps" in key else value / 50 if key in SMALLER else value * 5
    if isinstance(value, str):
        return {"nope": "rope"}.get(value, "gelu_new")
    if isinstance(value, list):
        known = {"time_step_limit": [0.0, 0.01], "no_rope_layers": [1] * len(value), "moe_layers": [0, 2]}
        return known.get(key, [value[-1], *value[:-1]] if len(set(map(str, value))) > 1 else value[1:])
    return 3 if "window" in key or "dim" in key else 0.01


def test_a_change_of_any_key_that_matters_is_noticed(directory, reference, tmp_path):
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    copy = tmp_path / "model"
    shutil.copytree(directory, copy)
    unnoticed = []
    for name, changes in mutations(config):
        (copy / "config.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")
        try:
            changed = load(copy)
        except ModelsError:
            continue
        if max(error(changed, reference, prompt) for prompt in "01") < 1e-4:
            unnoticed.append(name)
    assert unnoticed == []


@pytest.mark.parametrize("prompt", [0, 1, 2])
def test_trained_model_equals_an_independent_float64_forward_pass(stories, data, prompt):
    folder = data / "reference/stories260k"
    ids = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))[prompt]["ids"]
    expected = load_file(folder / f"prompt{prompt}.np64.safetensors")["logits"]
    assert np.abs(np.array(stories.model(mx.array([ids]))[0]) - expected).max() < 1e-4


def test_linear_rope_scales_positions(tiny, byte_tokenizer):
    from lazarus_models import new

    def rope_of(rope: RopeConfig):
        config = tiny.config.model_copy(update={"rope": rope})
        return new(config, byte_tokenizer, seed=0).model.layers[0].self_attn.rope

    queries = mx.random.normal((1, 1, 1, 16), key=mx.random.key(0))
    plain, scaled = rope_of(RopeConfig()), rope_of(RopeConfig(rope_type="linear", factor=4.0))
    assert mx.allclose(plain(queries, offset=3), scaled(queries, offset=12), atol=1e-6)
