"""Lean layers against the layers they stand for: loss, gradients, bits and memory; and Adam by vectors against MLX's."""

import numpy as np
import pytest

import lazarus_models
from lazarus_models.backend import mx, nn, optimizers
from lazarus_models.components.decoder import Block
from lazarus_models.trees import evaluate, flatten, modules, set_weights, weights
from lazarus_tokenkit import load_tokenizer
from lazarus_train import OptimizerSettings
from lazarus_train.cpu.adam import VectorAdam
from lazarus_train.cpu.low_memory_layers import LeanBlock, LeanEmbedding, LeanLinear
from lazarus_train.cpu.swiglu import swiglu
from lazarus_train.data.batches import make_batch
from lazarus_train.engine.gradients import LossGradients
from lazarus_train.engine.optim import Optimizer
from lazarus_train.engine.step import compute_gradients
from lazarus_train.layers.wrap import Wrapping, wrap_layers
from lazarus_train.objectives.causal import CausalObjective
from lazarus_train.preflight.inputs import check_run

pytestmark = pytest.mark.skipif(mx.default_device().type != mx.cpu, reason="what a CPU computes")


def causal_loss(model, batch):
    return CausalObjective().loss(model, batch)


def step_of(setup):
    enforced = check_run(setup.config())
    step = enforced.plan.step(0)
    return make_batch(step.rows, enforced.dataset, step.row_len), int(enforced.units[0])


def model_of(setup, *, use_lora=False, is_lean):
    model = lazarus_models.load(setup.model).model
    if use_lora:
        lazarus_models.apply_lora(model, lazarus_models.LoraConfig(rank=2), seed=0)
        moved = {name: 0.1 + each for name, each in weights(model).items() if name.endswith(".lora_b")}
        set_weights(model, moved)  # at zero they hide the slopes of what is before them
    if is_lean:
        wrap_layers(model, Wrapping(low_memory=True))
    return model


@pytest.mark.parametrize("use_lora", [False, True])
def test_lean_layers_give_the_same_loss_and_gradients(setup, use_lora):
    batch, units = step_of(setup)
    models = [model_of(setup, use_lora=use_lora, is_lean=is_lean) for is_lean in (False, True)]
    plain, lean = (compute_gradients(model, LossGradients(causal_loss), [batch], units, 1e9) for model in models)
    assert lean.loss == pytest.approx(plain.loss, rel=1e-6)
    theirs, ours = flatten(plain.tree), flatten(lean.tree)
    assert theirs.keys() == ours.keys()
    assert all(mx.allclose(ours[name], theirs[name], atol=1e-6) for name in theirs)


def test_lean_layers_give_the_same_bits_run_to_run(setup):
    batch, units = step_of(setup)
    model = model_of(setup, is_lean=True)
    trees = [flatten(compute_gradients(model, LossGradients(causal_loss), [batch], units, 1e9).tree) for _ in range(4)]
    for tree in trees[1:]:
        assert all(np.array_equal(np.array(tree[name]), np.array(trees[0][name])) for name in tree)


def test_layers_that_learn_are_lean_and_frozen_products_are_left_alone(setup):
    model = model_of(setup, is_lean=True)
    assert type(model.layers[0]) is LeanBlock
    assert type(model.model.embed_tokens) is LeanEmbedding
    assert type(model.layers[0].self_attn.q_proj) is LeanLinear
    adapted = model_of(setup, use_lora=True, is_lean=True)
    kinds = {type(module).__name__ for module in modules(adapted).values()}
    assert "LeanLoRALinear" in kinds
    assert not {"LoRALinear", "LeanLinear"} & kinds
    assert type(model_of(setup, is_lean=False).layers[0]) is Block


def test_a_lean_linear_layer_lays_its_gradient_out_as_its_weight(setup):
    batch, units = step_of(setup)
    found = compute_gradients(model_of(setup, is_lean=True), LossGradients(causal_loss), [batch], units, 1e9)
    name = "model.layers.0.mlp.down_proj.weight"
    assert np.asarray(flatten(found.tree)[name]).flags.c_contiguous


def test_a_lean_model_takes_less_memory():
    model = lazarus_models.init_model("tiny-test", load_tokenizer("byte"), seed=0).model
    model.train()
    ids = mx.random.randint(0, 200, (4, 256), key=mx.random.key(0))

    def peak() -> int:
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        loss = nn.value_and_grad(model, lambda ids: model(ids, cache=caches(model, ids)).square().sum())
        evaluate(loss(ids))
        return mx.get_peak_memory() - before

    plain = peak()
    wrap_layers(model, Wrapping(low_memory=True))
    assert peak() < 0.8 * plain


def caches(model, ids):
    return lazarus_models.segment_caches(model, mx.ones(ids.shape, dtype=mx.int32))


def test_swiglu_is_mlxs_forward_and_backward():
    gate, up, slope = (4 * mx.random.normal((2, 700, 100), key=mx.random.key(place)) for place in range(3))

    def plain(gate, up):
        return nn.silu(gate) * up

    ours, theirs = (mx.vjp(function, [gate, up], [slope]) for function in (swiglu, plain))
    for mine, other in zip([*ours[0], *ours[1]], [*theirs[0], *theirs[1]], strict=True):
        assert mx.allclose(mine, other, atol=1e-4, rtol=1e-5)
    far = mx.array([[[-1e4, 1e4, 0.0]]])
    assert swiglu(far, mx.ones_like(far)).tolist() == [[[0.0, 1e4, 0.0]]]


def moved(optimizer, steps=20):
    """A parameter after some steps, large enough for several blocks."""
    parameter = mx.random.normal((300, 250), key=mx.random.key(0))
    optimizer.init({"weight": parameter})
    for step in range(steps):
        optimizer.learning_rate = 1e-2 / (step + 1)
        slope = 10 ** (step % 4 - 2) * mx.random.normal(parameter.shape, key=mx.random.key(step + 1))
        parameter = optimizer.apply_gradients({"weight": slope}, {"weight": 1 * parameter})["weight"]
        evaluate([parameter, optimizer.state])
    return np.array(parameter), {name: np.array(each) for name, each in optimizer.state["weight"].items()}


def test_adam_by_vectors_is_mlxs_adam_and_cores_change_no_bit():
    theirs, their_moments = moved(optimizers.Adam(0.0, betas=[0.9, 0.99], eps=1e-8, bias_correction=True))
    ours, moments = moved(VectorAdam((0.9, 0.99), 1e-8, cores=1))
    assert np.abs(ours - theirs).max() < 1e-6
    assert all(np.allclose(moments[name], their_moments[name], rtol=1e-5, atol=1e-7) for name in ("m", "v"))
    assert np.array_equal(moved(VectorAdam((0.9, 0.99), 1e-8, cores=3))[0], ours)


@pytest.mark.parametrize(("name", "moments"), [("adamw", 2), ("lion", 1)])
def test_an_optimizer_holds_its_moments_and_nothing_more(name, moments):
    layer = nn.Linear(512, 512, bias=False)
    evaluate(layer.parameters())
    optimizer = Optimizer(OptimizerSettings(name=name), layer)
    before = mx.get_active_memory()
    for _ in range(2):
        optimizer.update({"weight": mx.ones((512, 512))}, 1e-3)
        optimizer.evaluate()
    assert mx.get_active_memory() - before < (moments + 0.1) * layer.weight.nbytes
