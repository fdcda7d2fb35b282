"""Import of GGUF files: of our export, of files that the gguf package writes with its own tables, and of damaged ones."""

import json
import re
import struct
import sys
from dataclasses import replace

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gguf_models import GPT2, keeping_spaces, with_byte_level
from lazarus_core.errors import LazarusError
from lazarus_models import export_gguf, load, save
from lazarus_models.backend import mx
from lazarus_models.components.rope import wavelengths
from lazarus_models.errors import ConfigError, UnsupportedModel, WeightsError
from lazarus_models.families import canonical, family_of
from lazarus_models.loading.gguf.header import BLOCKS, TensorType, read_gguf_header
from lazarus_models.trees import set_weights, weights

TYPES = {"F32": 0, "F16": 0, "BF16": 0, "Q8_0": 1, "Q4_0": 1, "Q4_1": 1}
IDS = mx.array([[1, 403, 407, 261, 378]])


def logits(lm):
    return np.array(lm.model(IDS).astype(mx.float32))


def qwen2(data):
    """A random Qwen 2 with the sizes and the tokenizer of the small Qwen 3."""
    qwen3 = load(data / "models/families/qwen3")
    raw = {key: value for key, value in qwen3.config.raw.items() if key not in ("layer_types", "head_dim")}
    config = canonical(raw | {"model_type": "qwen2", "tie_word_embeddings": True}, "test")
    model = family_of("qwen2").build(config)
    mx.random.seed(0)
    set_weights(model, {name: 0.1 * mx.random.normal(tensor.shape) for name, tensor in weights(model).items()})
    return replace(qwen3, model=model, config=config, family="qwen2")


def model_of(data, name):
    return keeping_spaces(qwen2(data) if name == "qwen2" else load(data / "models" / name))


def in_float16(lm):
    """The model with the weights that an export stores: matrices rounded to float16."""
    for name, tensor in weights(lm.model).items():
        if tensor.ndim > 1 and not name.endswith("block_sparse_moe.gate.weight"):
            set_weights(lm.model, weights(lm.model) | {name: tensor.astype(mx.float16).astype(mx.float32)})
    return lm


@pytest.fixture(scope="module")
def small(data, tmp_path_factory):
    """A small file: the story model as float16."""
    path = tmp_path_factory.mktemp("small") / "stories.gguf"
    export_gguf(model_of(data, "stories260k"), path)
    return path


@pytest.mark.parametrize(
    "name",
    ["stories260k", "families/llama", "families/llama3-rope", "families/mixtral", "families/qwen3", "qwen2"],
)
def test_an_exported_model_is_imported_with_equal_logits_and_settings(data, tmp_path, name):
    lm = in_float16(model_of(data, name))
    export_gguf(lm, tmp_path / "x.gguf")
    read = load(tmp_path / "x.gguf")
    assert np.array_equal(logits(read), logits(lm))
    assert read.family == lm.family
    if lm.config.rope.rope_type == "llama3":  # several original contexts give the same divisors
        found, expected = (wavelengths(lm.config.head_dim, one.config.rope) for one in (read, lm))
        assert np.array_equal(np.array(found), np.array(expected))
    else:
        assert read.config.rope == lm.config.rope
    for key in ("head_dim", "num_key_value_heads", "rms_norm_eps", "max_position_embeddings", "tie_word_embeddings"):
        assert getattr(read.config, key) == getattr(lm.config, key)
    assert read.config.dtype == "float16"
    assert read.stop_ids == lm.stop_ids


@pytest.mark.parametrize("more", [[], [5], [5, 400], [400, 2, 5]])
def test_every_token_that_ends_an_answer_is_imported_again(data, tmp_path, more):
    lm = replace(model_of(data, "stories260k"), generation_config={"eos_token_id": more})
    export_gguf(lm, tmp_path / "x.gguf")
    assert load(tmp_path / "x.gguf").stop_ids == lm.stop_ids == tuple(sorted({2, *more}))


def test_more_ends_of_an_answer_than_the_format_has_are_refused(data, tmp_path):
    lm = replace(model_of(data, "stories260k"), generation_config={"eos_token_id": [5, 6, 7]})
    with pytest.raises(UnsupportedModel, match="the format cannot express 4 tokens that end an answer"):
        export_gguf(lm, tmp_path / "x.gguf")


def test_the_ending_of_a_file_may_be_in_capitals(data, small, tmp_path):
    (tmp_path / "X.GGUF").write_bytes(small.read_bytes())
    assert np.array_equal(logits(load(tmp_path / "X.GGUF")), logits(load(small)))


def write_with_gguf(path, lm, architecture, kind, edit=lambda name, values: values):
    """Writes a model with the package gguf: its names, its quantization and its keys."""
    config, table = lm.config, gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], 32)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope.rope_theta)
    if architecture == "gemma3":
        writer.add_sliding_window(config.sliding_window)
    said = json.loads(lm.tokenizer.files["tokenizer.json"])
    texts = sorted(said["model"]["vocab"], key=said["model"]["vocab"].get)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(texts)
    writer.add_token_scores([-float(index) for index in range(len(texts))])
    writer.add_token_types([2, 3, 3, *[6] * 256, *[1] * (len(texts) - 259)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    expected = {}
    for name, tensor in weights(lm.model).items():
        values = edit(name, np.array(tensor.astype(mx.float32)))
        is_matrix = values.ndim > 1 and values.shape[-1] % 32 == 0
        used = gguf.GGMLQuantizationType[kind if is_matrix else "F32"]
        stored = gguf.quantize(values, used)
        expected[name] = gguf.dequantize(stored, used).reshape(values.shape)
        writer.add_tensor(table.get_name(name, try_suffixes=(".weight", ".bias")), stored, raw_dtype=used)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return expected


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("name", "architecture"), [("families/qwen3", "qwen3"), ("families/gemma3_text", "gemma3")])
def test_a_file_of_the_gguf_package_has_the_weights_that_it_means(data, tmp_path, name, architecture, kind):
    lm = model_of(data, name)
    add = 1 if architecture == "gemma3" else 0  # llama.cpp multiplies by the stored norm, a Gemma by one plus it

    def edit(name, values):
        return values + add if name.endswith("norm.weight") else values

    expected = write_with_gguf(tmp_path / "x.gguf", lm, architecture, kind, edit)
    read = load(tmp_path / "x.gguf")
    found = weights(read.model)
    assert found.keys() == expected.keys()
    for tensor in found:
        less = add if tensor.endswith("norm.weight") else 0
        assert np.array_equal(np.array(found[tensor]), expected[tensor] - np.float32(less))
    set_weights(lm.model, found)
    if architecture == "qwen3":
        assert np.array_equal(logits(read), logits(lm))
    assert read.config.dtype == {"F16": "float16", "BF16": "bfloat16"}.get(kind, "float32")


def q6_k(block):
    """256 weights of a Q6_K block, one by one, by the description of the format."""
    low, high, scales = block[:128], block[128:192], np.frombuffer(block[192:208], np.int8)
    (scale,) = struct.unpack("<e", block[208:210])
    out = []
    for index in range(256):
        half, rest = divmod(index, 128)
        quarter, place = divmod(rest, 32)
        byte = low[64 * half + 32 * (quarter % 2) + place]
        bits = byte & 15 if quarter < 2 else byte >> 4
        value = bits | (high[32 * half + place] >> (2 * quarter) & 3) << 4
        out.append(np.float32(scale) * np.float32(scales[index // 16]) * np.float32(value - 32))
    return out


def q4_k(block):
    """256 weights of a Q4_K block, one by one, by the description of the format."""
    scale, least = struct.unpack("<ee", block[:4])
    packed, nibbles = block[4:16], block[16:144]
    out = []
    for index in range(256):
        group = index // 32
        if group < 4:
            factor, offset = packed[group] & 63, packed[group + 4] & 63
        else:
            factor = packed[group + 4] & 15 | (packed[group - 4] >> 6) << 4
            offset = packed[group + 4] >> 4 | (packed[group] >> 6) << 4
        byte = nibbles[32 * (index // 64) + index % 32]
        value = byte & 15 if group % 2 == 0 else byte >> 4
        out.append(np.float32(scale) * np.float32(factor) * np.float32(value) - np.float32(least) * np.float32(offset))
    return out


@pytest.mark.parametrize(("kind", "plain"), [("Q6_K", q6_k), ("Q4_K", q4_k)])
def test_k_blocks_are_read_as_the_format_describes_them(tmp_path, kind, plain):
    from lazarus_models.loading.gguf.dequantize import open_weights

    rng = np.random.default_rng(0)
    _, width = BLOCKS[TensorType[kind]]
    raw = rng.integers(0, 256, (3, 2 * width), dtype=np.uint8)
    for row in raw.reshape(6, width):  # scales that are no NaN
        places = (slice(208, 210),) if kind == "Q6_K" else (slice(0, 2), slice(2, 4))
        for place in places:
            row[place] = np.frombuffer(np.float16(rng.uniform(0.001, 0.1)).tobytes(), np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_tensor("output.weight", raw, raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = read_gguf_header(tmp_path / "x.gguf")
    with open_weights(tmp_path / "x.gguf", header.tensors) as opened:
        found = np.array(opened.read("output.weight"))
    expected = [plain(block.tobytes()) for block in raw.reshape(6, width)]
    assert header.tensors["output.weight"].shape == (3, 512)
    np.testing.assert_allclose(found.reshape(6, 256), np.array(expected), rtol=1e-6, atol=1e-7)


def test_a_saved_import_is_the_same_model(small, tmp_path):
    read = load(small, hashed=True)
    save(read, tmp_path / "model")
    again = load(tmp_path / "model")
    assert np.array_equal(logits(again), logits(read))
    assert again.tokenizer.encode("Once upon  a time") == read.tokenizer.encode("Once upon  a time")
    assert list(read.digests) == ["stories.gguf"]


DIGITS = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, GPT2]}


@pytest.mark.parametrize(("splitting", "pre"), [(GPT2, "gpt-2"), (DIGITS, "smollm")])
def test_a_byte_level_bpe_is_exported_and_imported(data, tmp_path, splitting, pre):
    lm = with_byte_level(load(data / "models/families/qwen3"), splitting)
    export_gguf(lm, tmp_path / "x.gguf")
    said = read_gguf_header(tmp_path / "x.gguf").metadata
    assert (said["tokenizer.ggml.model"], said["tokenizer.ggml.pre"]) == ("gpt2", pre)
    assert said["tokenizer.ggml.merges"] == ["i n", "Ġ in"]
    assert said["tokenizer.ggml.token_type"][255:261] == [1, 1, 1, 3, 4, 5]  # normal, special, added, without a token
    read = load(tmp_path / "x.gguf").tokenizer
    for text in ("inside in 1234", "a<tool>b<|end|>", "naïve ☺ 日本"):
        assert read.encode(text) == lm.tokenizer.encode(text)
        assert read.decode(read.encode(text)) == text
    assert (read.eos_id, read.chat_template) == (258, "{{ messages }}")


def test_a_splitting_without_a_name_is_refused(data, tmp_path):
    other = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": False}, GPT2]}
    lm = with_byte_level(load(data / "models/families/qwen3"), other)
    with pytest.raises(UnsupportedModel, match="has no name in the format") as caught:
        export_gguf(lm, tmp_path / "x.gguf")
    assert caught.value.code == "LM-E115" and list(tmp_path.iterdir()) == []


def replaced(small, tmp_path, old, new):
    content = small.read_bytes()
    assert old in content
    (tmp_path / "x.gguf").write_bytes(content.replace(old, new, 1))
    return tmp_path / "x.gguf"


@pytest.mark.parametrize(
    ("old", "new", "error", "words"),
    [
        (b"GGUF", b"GGML", WeightsError, "LM-E264.*begins with `GGUF`"),
        (b"GGUF\x03\0\0\0", b"GGUF\x01\0\0\0", UnsupportedModel, "LM-E266.*version 1"),
        (b"GGUF\x03\0\0\0", b"GGUF\0\0\0\x03", UnsupportedModel, "LM-E266.*big-endian"),
        (b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0bloom", UnsupportedModel, "LM-E266.*'bloom'"),
        (b"llama.block_count", b"llama.blocc_count", UnsupportedModel, "LM-E266.*`llama.blocc_count`"),
        (b"llama.block_count\x04\0\0\0\x05", b"llama.block_count\x04\0\0\0\x06", WeightsError, "LM-E123"),
        (b"blk.0.attn_q.weight", b"blk.0.attn_x.weight", UnsupportedModel, "LM-E266.*`blk.0.attn_x.weight`"),
        (b"blk.0.attn_q.weight", b"blk.1.attn_q.weight", WeightsError, "LM-E264.*twice"),
        (b"tokenizer.ggml.model\x08\0\0\0\x05\0\0\0\0\0\0\0llama", None, LazarusError, "LT-E931.*'bertx'"),
    ],
)
def test_what_is_not_read_is_refused_by_name(small, tmp_path, old, new, error, words):
    path = replaced(small, tmp_path, old, new if new is not None else old.replace(b"llama", b"bertx"))
    with pytest.raises(error) as caught:
        load(path)
    assert re.search(words, f"{caught.value.code} {caught.value}", re.DOTALL)


@pytest.mark.parametrize("count", [1 << 62, (1 << 64) - 1, 1 << 33])
@pytest.mark.parametrize("place", ["tensors", "keys", "key length", "tokens"])
def test_a_huge_count_is_refused_before_memory_is_taken(small, tmp_path, count, place):
    content = bytearray(small.read_bytes())
    at = {
        "tensors": 8,
        "keys": 16,
        "key length": 24,
        "tokens": content.index(b"tokenizer.ggml.tokens") + len(b"tokenizer.ggml.tokens") + 8,
    }[place]
    content[at : at + 8] = struct.pack("<Q", count)
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        load(tmp_path / "x.gguf")
    assert caught.value.code == "LM-E264" and f"{count:,}" in str(caught.value)


def test_every_truncation_is_refused(small, tmp_path):
    content = small.read_bytes()
    end = max(tensor.offset for tensor in read_gguf_header(small).tensors.values())
    for size in (*range(0, end, max(1, end // 60)), len(content) - 1):
        (tmp_path / "x.gguf").write_bytes(content[:size])
        with pytest.raises(WeightsError) as caught:
            read_gguf_header(tmp_path / "x.gguf")
        assert caught.value.code == "LM-E264"


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=4))
def test_flipped_bytes_of_the_header_never_raise_another_error(small, tmp_path, flips):
    content = bytearray(small.read_bytes())
    end = min(tensor.offset for tensor in read_gguf_header(small).tensors.values())
    for place, mask in flips:
        content[int(place * (end - 1))] ^= mask
    (tmp_path / "x.gguf").write_bytes(content)
    try:
        load(tmp_path / "x.gguf")
    except LazarusError as error:
        assert error.code


def test_an_unknown_type_of_weights_is_named(data, tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_tensor("output.weight", np.zeros((2, 176), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q5_K)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UnsupportedModel, match=r"`output\.weight` is Q5_K") as caught:
        load(tmp_path / "x.gguf")
    assert caught.value.code == "LM-E266"


def test_a_missing_setting_is_named(small, tmp_path):
    path = replaced(small, tmp_path, b"llama.attention.head_count\x04", b"xlama.attention.head_count\x04")
    with pytest.raises(ConfigError, match=r"`llama\.attention\.head_count` is 'None'") as caught:
        load(path)
    assert caught.value.code == "LM-E265"


def test_the_extra_for_quantized_weights_is_named(data, tmp_path, monkeypatch):
    write_with_gguf(tmp_path / "x.gguf", model_of(data, "families/qwen3"), "qwen3", "Q8_0")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(UnsupportedModel, match=r"lazarus-models\[gguf\]") as caught:
        load(tmp_path / "x.gguf")
    assert caught.value.code == "LM-E268"


def test_tensors_that_overlap_are_refused(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    for name in ("output.weight", "token_embd.weight"):
        writer.add_tensor(name, np.ones((2, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    content = bytearray((tmp_path / "x.gguf").read_bytes())
    at = content.index(b"token_embd.weight") + len(b"token_embd.weight") + 4 + 2 * 8 + 4
    assert struct.unpack("<Q", content[at : at + 8]) == (256,)
    content[at : at + 8] = struct.pack("<Q", 32)
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(WeightsError, match=r"`token_embd\.weight` overlaps another tensor"):
        read_gguf_header(tmp_path / "x.gguf")
