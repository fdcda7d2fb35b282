"""The loss in blocks of tokens, and its gradients, against the loss of all logits at once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazarus_models import LoraConfig, apply_lora
from lazarus_models.backend import mx, nn
from lazarus_models.composition import initial_weights
from lazarus_models.families import canonical, family_of
from lazarus_models.trees import evaluate, flatten, set_weights
from lazarus_train.engine.precision import computing_in_bfloat16
from lazarus_train.objectives.fused_head import blockwise_causal_nll
from lazarus_train.objectives.next_token import causal_nll

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "tie_word_embeddings": True,
}


def decoder(family="llama", **keys):
    config = canonical({**SIZES, **keys, "model_type": family}, family)
    model = family_of(family).build(config)
    set_weights(model, initial_weights(model, config, seed=0))
    return model


@pytest.fixture(scope="module")
def tied():
    return decoder()


def plain(model, ids, is_label):
    return causal_nll(model.head(model.body(ids)), ids, is_label)


def blockwise(block_tokens):
    def loss(model, ids, is_label):
        return blockwise_causal_nll(model, model.body(ids), ids, is_label, block_tokens * model.config.vocab_size)

    return loss


def rows(model, seed, tokens=11):
    ids = mx.random.randint(0, model.config.vocab_size, (3, tokens), key=mx.random.key(seed))
    return ids, mx.random.uniform(shape=(3, tokens), key=mx.random.key(seed + 1)) < 0.6


def gradients(model, loss, seed=0, factor=1.0, tokens=11):
    value_and_grad = nn.value_and_grad(model, lambda *given: factor * loss(model, *given))
    value, tree = value_and_grad(*rows(model, seed, tokens))
    evaluate([value, tree])
    return value.item(), flatten(tree)


def near(found, expected, tolerance=1e-5):
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert found[1].keys() == expected[1].keys()
    for name, each in expected[1].items():
        assert found[1][name].dtype == each.dtype
        assert mx.allclose(found[1][name], each, rtol=tolerance, atol=tolerance), name


@pytest.mark.slow
@settings(deadline=None)
@given(seed=st.integers(0, 2**16), block=st.integers(1, 40), factor=st.sampled_from([1.0, 0.01, -2.0]))
def test_any_block_gives_the_loss_and_gradients_of_all_logits(tied, seed, block, factor):
    near(gradients(tied, blockwise(block), seed, factor), gradients(tied, plain, seed, factor))


@pytest.mark.parametrize(
    ("family", "keys"),
    [("llama", {"tie_word_embeddings": False}), ("granite", {"logits_scaling": 3.0})],
    ids=["a head of its own", "divided logits"],
)
def test_heads_of_every_kind(family, keys):
    model = decoder(family, **keys)
    near(gradients(model, blockwise(4)), gradients(model, plain))


def test_adapters_on_the_head_get_gradients_and_frozen_weights_none():
    model = decoder(tie_word_embeddings=False)
    apply_lora(model, LoraConfig(rank=2, targets=("q_proj", "lm_head")), seed=0)
    found = gradients(model, blockwise(4))
    assert any("lm_head.lora_b" in name for name in found[1])
    assert not any(name.endswith("embed_tokens.weight") for name in found[1])
    near(found, gradients(model, plain))


def test_gradients_in_mixed_precision_reach_the_float32_weights(tied):
    def mixed(loss):
        def computed(model, *given):
            with computing_in_bfloat16(model):
                return loss(model, *given)

        return computed

    found, expected = gradients(tied, mixed(blockwise(4))), gradients(tied, mixed(plain))
    assert {each.dtype for each in found[1].values()} == {mx.float32}
    near(found, expected, tolerance=0.05)


def test_without_labels_the_loss_and_gradients_are_zero(tied):
    ids, _ = rows(tied, 0)
    none = mx.zeros(ids.shape, mx.bool_)
    value, tree = nn.value_and_grad(tied, lambda: blockwise(4)(tied, ids, none))()
    assert value.item() == 0
    assert all(not mx.any(each).item() for each in flatten(tree).values())


def test_the_model_keeps_its_own_arrays(tied):
    before = {name: mx.array(each) for name, each in flatten(tied.parameters()).items()}
    gradients(tied, blockwise(4))
    after = flatten(tied.parameters())
    evaluate(after)  # no placeholder of a traced function is left
    assert before.keys() == after.keys()
    assert all(mx.array_equal(before[name], after[name]).item() for name in before)


def test_memory_does_not_grow_with_the_vocabulary_times_the_tokens():
    model = decoder(vocab_size=4096)
    peaks = []
    for loss in (plain, blockwise(16)):
        gradients(model, loss, tokens=100)
        mx.clear_cache()
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        gradients(model, loss, tokens=100)
        peaks.append(mx.get_peak_memory() - before)
    assert peaks[1] < peaks[0] / 2
