"""Noise, gradient checkpointing and the CPU memory policy take effect together, and change no gradient."""

from pathlib import Path

import pytest

import lazarus_models
import lazarus_models.trees
import lazarus_train
from lazarus_models import segment_caches
from lazarus_models.backend import mx, nn
from lazarus_models.components import Block
from lazarus_models.trees import evaluate, flatten, modules
from lazarus_tokenkit import load_tokenizer
from lazarus_train.cpu.low_memory_layers import LeanBlock, LeanEmbedding, LeanLinear
from lazarus_train.layers.gradient_checkpointing import Recomputed
from lazarus_train.layers.neftune import Noisy, embedding_of, noisy
from lazarus_train.layers.wrap import Wrapping, wrap_layers

pytestmark = pytest.mark.skipif(mx.default_device().type != mx.cpu, reason="the memory policy is a CPU's")
ALL = Wrapping(low_memory=True, gradient_checkpointing=True, noise=True)
ROWS, TOKENS = 4, 256


def small(wrapping=None):
    """A model of four layers whose embedding is its head too."""
    model = lazarus_models.init_model("tiny-test", load_tokenizer("byte"), seed=0).model
    if wrapping is not None:
        wrap_layers(model, wrapping)
    model.train()
    return model


def step(model, ids, noise):
    """Loss and gradients, with noise on the embedding where the model adds any."""
    segments = mx.ones(ids.shape, dtype=mx.int32)

    def loss(ids):
        return mx.square(model(ids, cache=segment_caches(model, segments))).mean()

    if not isinstance(embedding_of(model), Noisy):
        return nn.value_and_grad(model, loss)(ids)
    with noisy(model, noise):
        return nn.value_and_grad(model, loss)(ids)


def some_ids(rows=ROWS, tokens=TOKENS):
    return mx.random.randint(3, 200, (rows, tokens), key=mx.random.key(0))


def peak(wrapping):
    model, ids = small(wrapping), some_ids()
    noise = mx.zeros((ROWS, TOKENS, model.config.width))
    evaluate([model.parameters(), ids, noise])
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    evaluate(step(model, ids, noise))
    return mx.get_peak_memory() - before


def test_every_layer_has_every_wrapper_that_it_should():
    model = small(ALL)
    embedding = embedding_of(model)
    assert isinstance(embedding, Noisy) and isinstance(embedding, LeanEmbedding)
    for block in model.layers:
        assert isinstance(block, Recomputed) and isinstance(block, LeanBlock)
        assert isinstance(block.self_attn.q_proj, LeanLinear)


def test_the_order_is_the_stated_one():
    """Noise outside of low memory, checkpointing outside of low memory."""
    model = small(ALL)
    kinds = [type(embedding_of(model)).__mro__, type(model.layers[0]).__mro__]
    assert kinds[0].index(Noisy) < kinds[0].index(LeanEmbedding)
    assert kinds[1].index(Recomputed) < kinds[1].index(LeanBlock) < kinds[1].index(Block)


@pytest.mark.parametrize(
    "others",
    [Wrapping(noise=True), Wrapping(gradient_checkpointing=True), Wrapping(noise=True, gradient_checkpointing=True)],
    ids=str,
)
def test_low_memory_still_saves_memory_under_the_others(others):
    both = Wrapping(low_memory=True, gradient_checkpointing=others.gradient_checkpointing, noise=others.noise)
    assert peak(both) < 0.9 * peak(others)


def test_checkpointing_still_saves_memory_under_the_others():
    without = Wrapping(low_memory=True, noise=True)
    assert peak(ALL) < 0.8 * peak(without)


def test_noise_is_added_under_the_others():
    model, ids = small(ALL), some_ids(1, 8)
    plain = model(ids)
    with noisy(model, mx.ones((1, 8, model.config.width))):
        assert not mx.allclose(model(ids), plain, atol=1e-3)
    assert mx.array_equal(model(ids), plain)


@pytest.mark.parametrize("use_lora", [False, True])
def test_with_noise_of_zero_the_gradients_of_every_family_are_those_without(family, use_lora):
    ids, found = some_ids(2, 40), []
    for wrapping in (None, ALL):
        model = lazarus_models.load(family).model
        if use_lora:
            lazarus_models.apply_lora(model, lazarus_models.LoraConfig(rank=2), seed=0)
        if wrapping is not None:
            wrap_layers(model, wrapping)
        model.train()
        noise = mx.zeros((*ids.shape, model.config.width))
        if isinstance(embedding_of(model), Noisy):
            embedding_of(model).add(noise)
        found.append(nn.value_and_grad(model, lambda ids, model=model: mx.square(model(ids)).mean())(ids))
    (plain, slopes), (loss, wrapped) = found
    assert loss.item() == pytest.approx(plain.item(), rel=1e-5)
    slopes, wrapped = flatten(slopes), flatten(wrapped)
    assert slopes.keys() == wrapped.keys()
    for name, slope in slopes.items():
        assert mx.abs(wrapped[name] - slope).max() <= 1e-5 * mx.abs(slope).max() + 1e-7, name


def test_noise_changes_the_gradients_under_the_others_as_it_does_alone():
    ids, noise = some_ids(2, 40), 0.1 * mx.random.normal((2, 40, 64), key=mx.random.key(1))
    model = small(Wrapping(noise=True))
    noise = noise[..., : model.config.width]
    (alone, slopes), (all_of_them, wrapped) = step(model, ids, noise), step(small(ALL), ids, noise)
    assert all_of_them.item() == pytest.approx(alone.item(), rel=1e-5)
    slopes, wrapped = flatten(slopes), flatten(wrapped)
    assert all(mx.allclose(slopes[name], wrapped[name], atol=1e-6, rtol=1e-4) for name in slopes)


def test_names_of_weights_and_other_models_stay_as_they_are():
    other = small()
    names = list(lazarus_models.trees.weights(small()))
    assert list(lazarus_models.trees.weights(small(ALL))) == names
    assert not any(isinstance(layer, Noisy | Recomputed | LeanBlock) for layer in modules(other).values())


def test_classes_of_layers_are_changed_in_one_module():
    source = Path(lazarus_train.__file__).parent
    found = {path.name for path in source.rglob("*.py") if "__class__ =" in path.read_text()}
    assert found == {"wrap.py"}
