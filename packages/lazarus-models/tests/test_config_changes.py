"""A change of any key that decides what a model computes is noticed, in every family.

Each key is changed in the checkpoint that transformers computed, in its file or beside it; where that says nothing
(a window that is off), in the larger model of the family. A field that neither changes fails the last test.
"""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from lazarus_models import ModelsError, load
from lazarus_models.backend import mx
from lazarus_models.config import RopeConfig
from lazarus_models.config.huggingface import read_json
from lazarus_models.families import ModelFamilyType, canonical
from suite import every_nth

CHECKPOINTS = sorted(
    {*ModelFamilyType, "llama3-rope"} - {"lazarus_decoder", "qwen2"}
)  # qwen2 is compared with transformers in test_gguf_import.py

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
INSTEAD = {  # a key that another one outdoes: what to leave out of the file for it to be heard
    "_sliding_window_pattern": {"layer_types": None},
    "sliding_window_pattern": {"layer_types": None, "_sliding_window_pattern": None},
    "no_rope_layer_interval": {"layer_types": None, "no_rope_layers": None},
    "interleave_moe_layer_step": {"moe_layers": None},
    "expand": {"intermediate_size": None},
    "mamba_expand": {"mamba_d_head": "auto"},
}
OFF = {  # keys of what the checkpoint has switched off: they are changed in the larger model
    "granitemoehybrid": {"rope_parameters"},
    "jamba": {"rope_parameters"},  # its attention knows no positions
    "llama4_text": {"attn_scale", "floor_scale"},
    "qwen3": {"max_window_layers", "sliding_window", "use_sliding_window"},
    "starcoder2": {"rms_norm_eps"},  # it has `norm_epsilon`
}
SMALLER = ("swiglu_limit", "low_freq_factor", "attn_layer_period")  # there what is larger changes nothing
LARGER_CHANGES = [
    ("gemma3_text", "sliding_window", 13),
    ("gemma3_text", "query_pre_attn_scalar", 41),
    ("gpt_oss", "sliding_window", 13),
    ("gpt_oss", "num_experts_per_tok", 2),
    ("gpt_oss", "rope_parameters.factor", 7.0),
    ("gpt_oss", "rope_parameters.beta_fast", 4.0),
    ("gpt_oss", "rope_parameters.beta_slow", 2.0),
    ("gpt_oss", "rope_parameters.truncate", True),
    ("gpt_oss", "rope_parameters.attention_factor", 1.1),
    ("gpt_oss", "rope_parameters.original_max_position_embeddings", 60),
    ("granitemoehybrid", "attention_multiplier", 0.11),
    ("granitemoehybrid", "logits_scaling", 2.1),
    ("granitemoehybrid-dense", "position_embedding_type", "nope"),
    ("granitemoehybrid-dense", "rope_parameters.rope_theta", 15000.0),
    ("jamba", "attn_layer_offset", 2),
    ("llama4_text", "attention_chunk_size", 20),
    ("llama4_text", "interleave_moe_layer_step", 3),
    ("llama4_text", "floor_scale", 9),
    ("llama4_text", "attn_scale", 0.21),
    ("mistral", "sliding_window", 13),
    ("olmoe", "clip_qkv", 0.7),
    ("olmoe", "norm_topk_prob", False),
    ("qwen3", "use_sliding_window", False),
    ("qwen3", "sliding_window", 13),
    ("qwen3", "max_window_layers", 4),
    ("starcoder2", "sliding_window", 21),
    ("starcoder2", "norm_epsilon", 2e-4),
    ("starcoder2", "rope_parameters.factor", 2.1),
]


@pytest.fixture(scope="module", params=CHECKPOINTS)
def directory(request, data):
    return data / "models/families" / request.param


@pytest.fixture(scope="module")
def config(directory):
    return read_json(directory / "config.json")


@pytest.fixture(scope="module")
def off(config, directory):
    """Largest difference of a changed checkpoint's logits, as a share of the reference's range; None if it is refused."""
    reference = load_file(directory / "reference.safetensors")

    def measure(changes, folder):
        shutil.copytree(directory, folder, dirs_exist_ok=True)
        (folder / "config.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")
        try:
            model = load(folder).model
        except ModelsError:
            return None
        found = [np.array(model(mx.array(reference[f"{prompt}.input_ids"])[None])[0]) for prompt in "01"]
        expected = [reference[f"{prompt}.logits"] for prompt in "01"]
        return max(np.abs(one - other).max() / np.ptp(other) for one, other in zip(found, expected, strict=True))

    return measure


def fields(config):
    """What the family reads, and what it takes where the file says nothing."""
    read = canonical(config, "config")
    inner = {"model_type", "raw", "quantization", "eos_token_ids", "rope", "rope_local"}
    return {name: getattr(read, name) for name in type(read).model_fields if name not in INERT | inner}


def mutations(config):
    """(name, changes) for every key that decides an output, those that the file leaves out too."""
    for key, value in {**fields(config), **config}.items():
        if key in INERT or key in OFF.get(config["model_type"], ()):
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
            yield key, {**INSTEAD.get(key, {}), key: another(key, value)}


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


def test_a_change_of_any_key_that_matters_is_noticed(config, off, tmp_path):
    differences = {name: off(changes, tmp_path) for name, changes in mutations(config)}
    is_tied = canonical(config, "config").tie_word_embeddings
    kept = set() if is_tied else {"tie_word_embeddings"}  # a stored head that differs is kept: test_stored_head
    assert {name for name, found in differences.items() if found is not None and found < 1e-4} - kept == set()


def test_what_follows_from_another_key_need_not_be_said(config, off, tmp_path):
    for key in INSTEAD.keys() & config.keys():
        assert off(INSTEAD[key], tmp_path) < 1e-4, key


@pytest.mark.parametrize(("name", "key", "value"), every_nth(LARGER_CHANGES, 2))
def test_a_config_that_is_a_little_off_is_noticed(name, key, value, larger):
    entry = larger.models[name]
    outer, _, inner = key.rpartition(".")
    changed = {outer: {**entry["config"][outer], inner: value}} if outer else {key: value}
    assert larger.error(larger.made({**entry["config"], **changed}), entry) > 1e-4


def test_every_field_that_a_family_reads_is_changed_somewhere(config):
    larger = {key for name, key, _ in LARGER_CHANGES if name.partition("-")[0] == config["model_type"]}
    changed = {name for name, _ in mutations(config)} | larger
    unread = {"rms_norm_eps"} if config["model_type"] == "starcoder2" else set()
    assert fields(config).keys() - changed - unread == set()


def test_every_setting_of_rope_is_changed_somewhere(data):
    changed = {key for _, key, _ in LARGER_CHANGES}
    for name in CHECKPOINTS:
        changed |= {key for key, _ in mutations(read_json(data / "models/families" / name / "config.json"))}
    assert {f"rope_parameters.{field}" for field in RopeConfig.model_fields} - changed == {"rope_parameters.rope_type"}
