import numpy as np
import pytest

from lazarus_models import GenerationConfig, LoraConfig, SequenceModel, apply_lora, load, save, segment_caches
from lazarus_models.backend import mx, nn
from lazarus_models.components.sequence_head import classification_loss, regression_loss
from lazarus_models.composition import preset
from lazarus_models.composition.architectures import (
    compose,
    hybrid,
    mamba,
    mamba_mixer,
    model_config,
    recurrent,
    transformer,
)
from lazarus_models.config import AttentionConfig, MLPConfig, MoEConfig, NormConfig, RecurrentConfig, RopeConfig
from lazarus_models.families import family_of
from lazarus_models.generation import batch_tokens, generate_tokens
from lazarus_models.trees import flatten, parameter_count, weights

SMALL = {"vocab_size": 300, "width": 32, "layers": 2}
ATTENTION = AttentionConfig(num_heads=4, num_key_value_heads=2, head_dim=8)
MODELS = {
    "transformer": transformer(**SMALL, heads=4, key_value_heads=2),
    "window": transformer(**SMALL, heads=4, window=3),
    "alibi": transformer(**SMALL, heads=4, alibi=True, rope=None),
    "learned positions": transformer(**SMALL, heads=4, rope=None).model_copy(update={"positions": 64}),
    "yarn": transformer(
        **SMALL, heads=4, rope=RopeConfig(rope_type="yarn", factor=4.0, original_max_position_embeddings=8)
    ),
    "geglu": transformer(**SMALL, heads=4, feed_forward=MLPConfig(width=48, activation="gelu")),
    "plain mlp": transformer(
        **SMALL, heads=4, feed_forward=MLPConfig(width=48, activation="relu", gated=False, bias=True)
    ),
    "experts": transformer(
        **SMALL,
        heads=4,
        feed_forward=MoEConfig(num_experts=4, num_experts_per_tok=2, width=16, router="all", renormalise=True),
    ),
    "norms of heads": transformer(
        **SMALL, heads=4, qk_norm="head", sinks=True, clip=2.0, norm=NormConfig(one_plus=True)
    ),
    "mamba": mamba(**SMALL, state=4),
    "lstm": recurrent(**SMALL, kind="lstm"),
    "gru": recurrent(**SMALL, kind="gru"),
    "min_gru": recurrent(**SMALL, kind="min_gru"),
    "hybrid": hybrid(
        vocab_size=300,
        width=32,
        mixers=[mamba_mixer(32, 4), ATTENTION, RecurrentConfig(kind="min_gru", inner=24)],
        mlp=48,
    ),
}
IDS = mx.array([[1, 5, 9, 200, 7, 7, 31, 2, 8]])


@pytest.fixture(params=MODELS)
def lm(request, byte_tokenizer):
    return compose(MODELS[request.param], byte_tokenizer, seed=0)


def test_a_batch_says_what_each_prompt_says_alone(lm):
    config = GenerationConfig(max_new_tokens=8)
    prompts = [[5, 6, 7], [8, 9], [3, 4, 5, 6, 7]]
    alone = [list(generate_tokens(lm.model, prompt, config)) for prompt in prompts]
    assert batch_tokens(lm.model, [(prompt, config) for prompt in prompts], batch_size=2) == alone


def test_every_part_has_a_gradient_and_the_right_shape(lm):
    ids = mx.random.randint(0, 300, (4, 33), key=mx.random.key(1))

    def loss(model):
        return nn.losses.cross_entropy(model(ids[:, :-1]), ids[:, 1:]).mean()

    assert lm.model(IDS).shape == (1, 9, 300)
    value, gradients = nn.value_and_grad(lm.model, loss)(lm.model)
    assert abs(value.item() - np.log(300)) < 0.1
    gradients = flatten(gradients)
    assert gradients.keys() == weights(lm.model).keys()
    zero = [name for name, gradient in gradients.items() if not mx.abs(gradient).max().item() > 0]
    assert zero == []


@pytest.mark.parametrize("name", MODELS)
def test_a_seed_fixes_every_bit(name, byte_tokenizer):
    first, again = (weights(compose(MODELS[name], byte_tokenizer, seed=3).model) for _ in range(2))
    assert all(mx.array_equal(first[tensor], again[tensor]) for tensor in first)


def test_no_token_sees_a_later_one(lm):
    changed = mx.concatenate([IDS[:, :5], (IDS[:, 5:] + 1) % 256], axis=1)
    difference = mx.abs(lm.model(IDS) - lm.model(changed)).max(axis=-1)[0]
    assert difference[:5].max().item() == 0
    assert difference[5:].min().item() > 0


def test_cached_equals_uncached(lm):
    prompt = IDS[0].tolist()
    cached, uncached = (
        list(generate_tokens(lm.model, prompt, GenerationConfig(max_new_tokens=10), use_cache=use))
        for use in (True, False)
    )
    assert cached == uncached


def test_what_is_saved_is_what_is_loaded(lm, tmp_path):
    save(lm, tmp_path)
    again = load(tmp_path)
    assert again.model.config == lm.model.config
    assert mx.array_equal(again.model(IDS), lm.model(IDS))


def test_a_composed_llama_is_a_llama_to_everyone(byte_tokenizer, tmp_path):
    lm = compose(transformer(vocab_size=300, width=64, layers=2, heads=4, key_value_heads=2), byte_tokenizer, seed=0)
    assert lm.family == "llama"
    save(lm, tmp_path)
    import mlx_lm
    from transformers import AutoConfig

    model, _ = mlx_lm.load(str(tmp_path))
    assert np.allclose(np.array(model(IDS)), np.array(lm.model(IDS)), atol=1e-5)
    config = AutoConfig.from_pretrained(tmp_path)
    assert (type(config).__name__, config.num_key_value_heads) == ("LlamaConfig", 2)


def test_only_a_llama_is_called_a_llama():
    assert model_config(transformer(**SMALL, heads=4)).model_type == "llama"
    assert model_config(transformer(**SMALL, heads=4, window=8)).model_type == "mistral"
    for more in ({"scale": 0.5}, {"sinks": True}, {"rope": None}, {"qk_norm": "head"}):
        assert model_config(transformer(**SMALL, heads=4, **more)).model_type == "lazarus_decoder"


@pytest.mark.parametrize("name", ["micro", "tiny", "small", "medium"])
def test_presets_are_composed_too(name):
    config = preset(name, vocab_size=32_768)
    architecture = family_of("llama").architecture(config)
    assert model_config(architecture).model_dump(include={"hidden_size"}) == {"hidden_size": config.hidden_size}
    assert family_of("llama").architecture(model_config(architecture)) == architecture


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_a_row_is_scored_whatever_its_padding(pooling):
    model = SequenceModel(MODELS["transformer"], outputs=3, pooling=pooling)
    padded = mx.concatenate([IDS, mx.zeros((1, 4), dtype=IDS.dtype)], axis=1)
    assert mx.allclose(model(IDS), model(padded, mx.array([9])), atol=1e-5)
    assert "score.weight" in weights(model)
    assert parameter_count(model) > 0


def test_packed_rows_of_scores_are_exact_and_take_adapters():
    model = SequenceModel(MODELS["transformer"], outputs=3)
    labels = mx.array([[1] * 4 + [2] * 5])
    states = model.body(IDS, segment_caches(model, labels))
    alone = mx.concatenate([model(IDS[:, :4]), model(IDS[:, 4:])])
    assert mx.allclose(model.head(states[0, mx.array([3, 8])]), alone, atol=1e-5)
    apply_lora(model, LoraConfig(rank=2), seed=0)
    assert {name.rpartition(".")[2] for name in flatten(model.trainable_parameters())} == {"lora_a", "lora_b"}


def test_a_classifier_and_a_regression_learn():
    def learnt(outputs, loss):
        model = SequenceModel(MODELS["min_gru"], outputs=outputs)
        before = loss(model).item()
        gradients = nn.value_and_grad(model, loss)(model)[1]
        model.update({"score": {"weight": model.score.weight - 0.02 * gradients["score"]["weight"]}})
        return loss(model).item() < before

    rows = mx.array([[1, 2, 3], [4, 5, 6]])
    assert learnt(4, lambda model: classification_loss(model(rows), mx.array([0, 3])))
    assert learnt(1, lambda model: regression_loss(model(rows), mx.array([1.0, -1.0])))
