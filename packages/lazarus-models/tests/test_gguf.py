import json

import numpy as np
import pytest

from lazarus_models import UnsupportedModel, export_gguf, load, set_weights, weights
from lazarus_models.backend import mx
from lazarus_models.decoder import Decoder

OURS = {  # by the format's own words, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
    "token_embd.": "model.embed_tokens.",
    "output_norm.": "model.norm.",
    "blk.": "model.layers.",
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


@pytest.fixture(scope="module")
def exported(stories, tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "stories.gguf"
    export_gguf(stories, path)
    assert [file.name for file in path.parent.iterdir()] == ["stories.gguf"]
    return mx.load(str(path), return_metadata=True)


def test_a_reader_that_turns_neighbours_computes_the_same(exported, stories):
    config = stories.model.config
    mixer = config.blocks[0].mixer.model_copy(update={"rope_interleaved": True})
    blocks = tuple(block.model_copy(update={"mixer": mixer}) for block in config.blocks)
    reader, renamed = Decoder(config.model_copy(update={"blocks": blocks})), {}
    for name, tensor in exported[0].items():
        for theirs, ours in OURS.items():
            name = name.replace(theirs, ours)
        renamed[name] = tensor.astype(mx.float32)
    assert renamed.keys() == weights(reader).keys()
    set_weights(reader, renamed)
    ids = mx.array([[1, 403, 407, 261]])
    found, expected = np.array(reader(ids)), np.array(stories.model(ids))
    assert np.abs(found - expected).max() < 1e-3 * np.ptp(expected)  # float16


def test_every_token_is_there_and_longer_pieces_merge_in_their_order(exported, data):
    said = json.loads((data / "models/stories260k/tokenizer.json").read_text(encoding="utf-8"))["model"]
    metadata = exported[1]
    assert metadata["tokenizer.ggml.tokens"] == sorted(said["vocab"], key=said["vocab"].get)
    scores = dict(zip(metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.scores"].tolist(), strict=True))
    merged = [scores["".join(pair)] for pair in said["merges"]]
    assert merged == sorted(merged, reverse=True)
    assert metadata["tokenizer.ggml.token_type"].tolist()[:4] == [3, 3, 3, 6]  # control, control, control, byte


@pytest.mark.parametrize(
    ("name", "words"),
    [("qwen3", "family 'qwen3'"), ("llama3-rope", "`rope_type` 'llama3'"), ("mistral", "a sliding window")],
)
def test_what_the_file_has_no_words_for_is_refused(data, tmp_path, name, words):
    with pytest.raises(UnsupportedModel, match=words):
        export_gguf(load(data / "models/families" / name), tmp_path / "x.gguf")
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_of_another_kind_is_refused(tiny, tmp_path):
    with pytest.raises(UnsupportedModel, match="no SentencePiece vocabulary"):
        export_gguf(tiny, tmp_path / "x.gguf")
