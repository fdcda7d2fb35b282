import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_models import ModelsError, read_config
from lazarus_models.config import RopeConfig
from lazarus_models.errors import ConfigError, UnsupportedModel
from lazarus_models.families import canonical

SMALL = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 300,
}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}


def read(**more):
    return canonical({**SMALL, **more}, "config.json")


def test_what_the_file_leaves_out_is_the_familys_default():
    config = read()
    assert not config.tie_word_embeddings  # mlx-lm would tie
    assert (config.num_key_value_heads, config.head_dim, config.rms_norm_eps) == (4, 16, 1e-6)
    assert config.rope == RopeConfig(rope_type="default", rope_theta=10000.0)
    assert config.dtype == "float32"


def test_null_means_left_out():
    assert read(head_dim=None, num_key_value_heads=None, rope_scaling=None) == read().model_copy(
        update={"raw": {**SMALL, "head_dim": None, "num_key_value_heads": None, "rope_scaling": None}}
    )


@pytest.mark.parametrize(
    "spelling",
    [
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, **LLAMA3}},
        {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", **LLAMA3}},
        {"rope_theta": 5e5, "rope_scaling": {"type": "llama3", **LLAMA3}},
        {"rope_theta": 5e5, "rope_scaling": None, "rope_parameters": {"rope_type": "llama3", **LLAMA3}},
    ],
)
def test_every_spelling_of_rope_is_one_rope(spelling):
    assert read(**spelling).rope == RopeConfig(rope_type="llama3", rope_theta=5e5, **LLAMA3)


@pytest.mark.parametrize(
    "spelling", [{"dtype": "bfloat16"}, {"torch_dtype": "bfloat16"}, {"torch_dtype": "torch.bfloat16"}]
)
def test_every_spelling_of_dtype_is_one_dtype(spelling):
    assert read(**spelling).dtype == "bfloat16"


@pytest.mark.parametrize(("eos", "ids"), [(2, (2,)), ([1, 2], (1, 2)), (0, (0,)), (None, ())])
def test_end_tokens_are_one_or_many(eos, ids):
    assert read(eos_token_id=eos).eos_token_ids == ids


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_size": "64"}, "hidden_size: must be a whole number (got '64')"),
        ({"num_hidden_layers": 0}, "num_hidden_layers: must be above 0 (got 0)"),
        ({"num_attention_heads": 4, "num_key_value_heads": 3}, "`num_key_value_heads` 3"),
        ({"head_dim": 15}, "`head_dim` 15 is odd"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "takes ('factor', 'low_freq_factor'"),
        (
            {"rope_scaling": {"rope_type": "longrope", "factor": 8.0}},
            "rope_type: must be 'default', 'linear', 'llama3' or 'yarn'",
        ),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor: is unknown"),
        ({"torch_dtype": "int8"}, "dtype: must be 'float32', 'float16' or 'bfloat16' (got 'int8')"),
        ({"rope_parameters": {"a\nb": 1}}, r"'a\nb': is unknown"),
        ({"model_type": None}, "no `model_type`"),
    ],
)
def test_a_wrong_config_names_file_key_and_value(change, words):
    with pytest.raises(ConfigError) as failure:
        read(**change)
    assert failure.value.message.startswith("config.json: ")
    assert words in failure.value.message


def test_the_folder_of_a_run_names_its_model(tmp_path):
    (tmp_path / "final").mkdir()
    (tmp_path / "config.json").write_text('{"record_version": 1}')
    (tmp_path / "final/config.json").write_text(json.dumps(SMALL))
    with pytest.raises(ConfigError, match=r"the folder of a run, not a model: give .*/final$") as failure:
        read_config(tmp_path)
    assert failure.value.code == "LM-E102"


def test_a_missing_key_is_named():
    with pytest.raises(ConfigError, match="intermediate_size: is missing"):
        canonical({key: value for key, value in SMALL.items() if key != "intermediate_size"}, "config.json")


def test_an_unknown_family_says_which_are_known():
    with pytest.raises(UnsupportedModel, match="'rwkv' is not supported; supported are gemma3_text, gpt_oss"):
        read(model_type="rwkv")


def test_foreign_quantization_is_refused_by_name():
    with pytest.raises(UnsupportedModel, match="quantized by 'gptq'"):
        read(quantization_config={"quant_method": "gptq", "group_size": 128})


def test_another_activation_is_refused():
    with pytest.raises(UnsupportedModel, match="does not support hidden_act: must be 'silu'"):
        read(hidden_act="gelu")


def test_a_text_model_beside_a_vision_model_is_read_alone():
    text = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 6, "rope_theta": 1e6, "vocab_size": 300}
    config = canonical({"model_type": "gemma3", "text_config": text, "eos_token_id": [1, 106]}, "config.json")
    assert (config.model_type, config.eos_token_ids, config.head_dim) == ("gemma3_text", (1, 106), 256)
    assert config.layer_types == ("sliding_attention",) * 5 + ("full_attention",)
    assert (config.rope.rope_theta, config.rope_local.rope_theta) == (1e6, 1e4)


def test_layers_are_as_many_as_their_kinds():
    with pytest.raises(ConfigError, match="`layer_types` has 1 layers, but `num_hidden_layers` is 2"):
        read(model_type="qwen3", num_key_value_heads=4, layer_types=["full_attention"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "config.json:1:2"),
        (b"[]", "not a JSON object but a list"),
        (b"\xff", "is not UTF-8"),
        (None, "does not exist"),
    ],
)
def test_an_unreadable_config_is_one_line(tmp_path, content, words):
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigError, match=words) as failure:
        read_config(tmp_path)
    assert "\n" not in failure.value.message


def test_what_we_write_reads_back_as_itself():
    config = read(
        rope_parameters={"rope_type": "llama3", "rope_theta": 5e5, **LLAMA3}, eos_token_id=[1, 2], extra="kept"
    )
    written = config.to_huggingface(dtype="float32")
    again = canonical(json.loads(json.dumps(written)), "config.json")
    assert again.model_copy(update={"raw": config.raw}) == config
    assert written["extra"] == "kept"
    assert written["tie_word_embeddings"] is False
    assert (written["rope_theta"], written["rope_scaling"]["factor"]) == (5e5, 8.0)  # what mlx-lm reads


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    key=st.sampled_from([*SMALL, "rope_scaling", "rope_parameters", "eos_token_id", "dtype", "head_dim"]),
    value=json_values,
)
def test_any_json_value_is_read_or_refused_in_words(key, value):
    try:
        read(**{key: value})
    except ModelsError as error:
        assert "\n" not in error.message
