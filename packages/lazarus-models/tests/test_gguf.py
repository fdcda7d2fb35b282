import json
from dataclasses import replace

import numpy as np
import pytest

from gguf_models import keeping_spaces
from lazarus_models import export_gguf, load, save
from lazarus_models.backend import mx
from lazarus_models.components.decoder import Decoder
from lazarus_models.config import RopeConfig
from lazarus_models.errors import UnsupportedModel
from lazarus_models.trees import set_weights, weights

OURS = {  # by the format's own words, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
    "token_embd.": "model.embed_tokens.",
    "output_norm.": "model.norm.",
    "blk.": "model.layers.",
    "ffn_gate_exps": "block_sparse_moe.switch_mlp.gate_proj",
    "ffn_up_exps": "block_sparse_moe.switch_mlp.up_proj",
    "ffn_down_exps": "block_sparse_moe.switch_mlp.down_proj",
    "ffn_gate_inp": "block_sparse_moe.gate",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_output": "self_attn.o_proj",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@pytest.fixture(scope="module", params=["stories260k", "families/mixtral", "families/llama"])
def lm(request, data):
    return keeping_spaces(load(data / "models" / request.param))


@pytest.fixture(scope="module")
def exported(lm, tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "told.gguf"
    export_gguf(lm, path)
    assert [file.name for file in path.parent.iterdir()] == ["told.gguf"]
    return mx.load(str(path), return_metadata=True)


def test_a_reader_that_turns_neighbours_computes_the_same(exported, lm):
    config = lm.model.config
    mixer = config.blocks[0].mixer.model_copy(update={"rope_interleaved": True})
    blocks = tuple(block.model_copy(update={"mixer": mixer}) for block in config.blocks)
    reader, renamed = Decoder(config.model_copy(update={"blocks": blocks})), {}
    for name, tensor in exported[0].items():
        for theirs, ours in OURS.items():
            name = name.replace(theirs, ours)
        renamed["lm_head.weight" if name == "output.weight" else name] = tensor.astype(mx.float32)
    assert renamed.keys() == weights(reader).keys()
    set_weights(reader, renamed)
    ids = mx.array([[1, 403, 407, 261]])
    found, expected = np.array(reader(ids)), np.array(lm.model(ids))
    assert np.abs(found - expected).max() < 1e-3 * np.ptp(expected)  # float16


def test_the_description_is_that_of_the_config(exported, lm):
    said, config = exported[1], lm.config
    keys = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "rope.dimension_count": config.head_dim,
        "rope.freq_base": config.rope.rope_theta,
        "vocab_size": config.vocab_size,
    }
    if config.model_type == "mixtral":
        keys |= {"expert_count": config.num_local_experts, "expert_used_count": config.num_experts_per_tok}
    assert {key: said[f"llama.{key}"].item() for key in keys} == keys
    assert said["llama.attention.layer_norm_rms_epsilon"].item() == pytest.approx(config.rms_norm_eps)
    assert (said["general.architecture"], said["general.name"]) == ("llama", "told")
    assert said["tokenizer.ggml.add_bos_token"].item() is lm.tokenizer.adds_bos
    assert said["tokenizer.ggml.bos_token_id"].item() == lm.tokenizer.bos_id


def test_linear_rope_and_a_chat_template_are_told(stories, tmp_path):
    rope = RopeConfig(rope_type="linear", factor=4.0)
    template = "{{ messages[0].content }}"
    directory = tmp_path / "model"
    kept = keeping_spaces(stories)
    save(replace(kept, config=kept.config.model_copy(update={"rope": rope})), directory)
    said = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))
    (directory / "tokenizer_config.json").write_text(json.dumps({**said, "chat_template": template}), encoding="utf-8")
    export_gguf(load(directory), tmp_path / "x.gguf")
    said = mx.load(str(tmp_path / "x.gguf"), return_metadata=True)[1]
    assert (said["llama.rope.scaling.type"], said["llama.rope.scaling.factor"].item()) == ("linear", 4.0)
    assert said["tokenizer.chat_template"] == template


def test_every_token_is_there_and_longer_pieces_merge_in_their_order(exported, lm):
    said = json.loads((lm.path / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    metadata = exported[1]
    assert metadata["tokenizer.ggml.tokens"] == sorted(said["vocab"], key=said["vocab"].get)
    scores = dict(zip(metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.scores"].tolist(), strict=True))
    merged = [scores["".join(pair)] for pair in said["merges"]]
    assert merged == sorted(merged, reverse=True)
    assert metadata["tokenizer.ggml.token_type"].tolist()[:4] == [2, 3, 3, 6]  # unknown, control, control, byte


@pytest.mark.parametrize(
    ("name", "words"),
    [("gemma3_text", "family 'gemma3_text'"), ("mistral", "a sliding window")],
)
def test_what_the_file_has_no_words_for_is_refused(data, tmp_path, name, words):
    with pytest.raises(UnsupportedModel, match=words):
        export_gguf(load(data / "models/families" / name), tmp_path / "x.gguf")
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_that_folds_double_spaces_is_refused(stories, tmp_path):
    with pytest.raises(UnsupportedModel, match="a reader would give other ids for ' '") as caught:
        export_gguf(stories, tmp_path / "x.gguf")
    assert caught.value.code == "LM-E115" and list(tmp_path.iterdir()) == []


def test_a_tokenizer_of_another_kind_is_refused(tiny, tmp_path):
    with pytest.raises(UnsupportedModel, match="its splitting of text before merging has no name"):
        export_gguf(tiny, tmp_path / "x.gguf")
