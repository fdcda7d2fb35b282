import math

import pytest

import suite
from lazarus_models import LoraConfig, apply_lora, init_model
from lazarus_models.backend import mx, nn
from lazarus_models.composition import PRESETS, preset
from lazarus_models.errors import ConfigError
from lazarus_models.families import family_of
from lazarus_models.trees import flatten, parameter_count, weights

PUBLISHED = {"micro": 9_438_336, "tiny": 23_072_000, "small": 41_686_656, "medium": 83_898_880, "base": 124_275_456}


@pytest.mark.parametrize(("name", "count"), PUBLISHED.items())
def test_presets_have_the_published_parameter_counts(name, count):
    config = preset(name, vocab_size=32_768)
    assert parameter_count(family_of("llama").build(config)) == count  # shapes alone: nothing is computed


@pytest.mark.parametrize(
    ("name", "rank", "count"),
    [("micro", 16, 188_416), ("tiny", 32, 1_130_496), ("small", 48, 2_967_552), ("medium", 56, 7_913_472)],
)
def test_lora_on_presets_has_the_published_parameter_counts(name, rank, count):
    model = family_of("llama").build(preset(name, vocab_size=16))
    apply_lora(model, LoraConfig(rank=rank), seed=0)
    assert sum(tensor.size for tensor in flatten(model.trainable_parameters()).values()) == count


@pytest.mark.slow
@pytest.mark.parametrize("name", suite.thinned(PRESETS, keep=[name for name in PRESETS if name != "base"]))
def test_fresh_cross_entropy_is_ln_v(name, byte_tokenizer):
    lm = init_model(name, byte_tokenizer, seed=0)
    ids = mx.random.randint(0, lm.config.vocab_size, (4, 65), key=mx.random.key(1))
    loss = nn.losses.cross_entropy(lm.model(ids[:, :-1]), ids[:, 1:]).mean().item()
    assert abs(loss - math.log(lm.config.vocab_size)) < 0.1


def test_a_seed_fixes_the_weights_whatever_was_drawn_before(byte_tokenizer):
    first = weights(init_model("tiny-test", byte_tokenizer, seed=7).model)
    mx.random.normal((3,))
    again = weights(init_model("tiny-test", byte_tokenizer, seed=7).model)
    other = weights(init_model("tiny-test", byte_tokenizer, seed=8).model)
    assert all(mx.array_equal(first[name], again[name]) for name in first)
    assert not mx.array_equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_fresh_weights_have_the_stated_spread(byte_tokenizer):
    config = preset("tiny-test", vocab_size=261).model_copy(update={"num_hidden_layers": 8})
    fresh = weights(init_model(config, byte_tokenizer, seed=0).model)
    assert fresh["model.embed_tokens.weight"].std().item() == pytest.approx(0.02, rel=0.05)
    assert fresh["model.layers.0.mlp.up_proj.weight"].std().item() == pytest.approx(0.02, rel=0.05)
    assert fresh["model.layers.0.mlp.down_proj.weight"].std().item() == pytest.approx(0.02 / 4, rel=0.05)
    assert fresh["model.layers.0.self_attn.o_proj.weight"].std().item() == pytest.approx(0.02 / 4, rel=0.05)
    assert fresh["model.norm.weight"].tolist() == [1.0] * 64


def test_the_tokenizer_decides_vocabulary_and_special_ids(tiny, byte_tokenizer):
    assert tiny.config.vocab_size == byte_tokenizer.vocab_size
    assert tiny.config.bos_token_id == byte_tokenizer.bos_id
    assert tiny.stop_ids == (byte_tokenizer.eos_id,)
    assert init_model("tiny-test", byte_tokenizer, seed=0, vocab_size=320).config.vocab_size == 320
    with pytest.raises(ConfigError, match="below the tokenizer's"):
        init_model("tiny-test", byte_tokenizer, seed=0, vocab_size=10)


def test_an_unknown_preset_says_which_there_are():
    with pytest.raises(ConfigError, match="no preset 'huge'; there are nano, tiny-test, micro"):
        preset("huge", vocab_size=10)
