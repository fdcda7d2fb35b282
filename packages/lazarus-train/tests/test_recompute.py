import pytest
from pydantic import ValidationError

import lazarus_models
from lazarus_models import segment_caches
from lazarus_models.backend import mx, nn
from lazarus_models.components import Block
from lazarus_models.trees import evaluate, flatten
from lazarus_tokenkit import load_tokenizer
from lazarus_train.data.batches import make_batch
from lazarus_train.engine.gradients import LossGradients
from lazarus_train.engine.step import compute_gradients
from lazarus_train.layers.gradient_checkpointing import Recomputed
from lazarus_train.layers.wrap import Wrapping, wrap_layers
from lazarus_train.objectives.causal import CausalObjective
from lazarus_train.preflight.inputs import check_run


def causal_loss(model, batch):
    return CausalObjective().loss(model, batch)


@pytest.mark.parametrize("use_lora", [False, True])
def test_recomputed_blocks_give_the_same_loss_and_gradients(setup, use_lora):
    enforced = check_run(setup.config())
    step = enforced.plan.step(0)
    batch = make_batch(step.rows, enforced.dataset, step.row_len)
    found = []
    for recomputes in (False, True):
        model = lazarus_models.load(setup.model).model
        if use_lora:
            lazarus_models.apply_lora(model, lazarus_models.LoraConfig(rank=2), seed=0)
        wrap_layers(model, Wrapping(gradient_checkpointing=recomputes))
        found.append(compute_gradients(model, LossGradients(causal_loss), [batch], int(enforced.units[0]), 1e9))
    plain, recomputed = (flatten(each.tree) for each in found)
    assert found[0].loss == found[1].loss
    assert plain.keys() == recomputed.keys()
    assert all(mx.allclose(plain[name], recomputed[name], atol=1e-7) for name in plain)
    assert any(mx.abs(each).max().item() > 0 for name, each in recomputed.items() if ".layers." in name)


@pytest.mark.skipif(mx.default_device().type != mx.cpu, reason="lean layers are a CPU's")
def test_with_lean_layers_the_gradients_of_every_family_are_those_without(family):
    ids = mx.random.randint(3, 500, (2, 40), key=mx.random.key(0))
    found = []
    for recomputes in (False, True):
        model = lazarus_models.load(family).model
        if recomputes:
            wrap_layers(model, Wrapping(low_memory=True, gradient_checkpointing=True))
        found.append(nn.value_and_grad(model, lambda ids, model=model: mx.square(model(ids)).mean())(ids))
    (plain, slopes), (loss, recomputed) = found
    assert loss.item() == pytest.approx(plain.item(), rel=1e-5)
    slopes, recomputed = flatten(slopes), flatten(recomputed)
    assert slopes.keys() == recomputed.keys()
    for name, slope in slopes.items():
        assert mx.abs(recomputed[name] - slope).max() <= 1e-5 * mx.abs(slope).max() + 1e-7, name


@pytest.mark.skipif(mx.default_device().type != mx.cpu, reason="lean layers are a CPU's")
@pytest.mark.parametrize("is_lean", [False, True])
def test_recomputed_blocks_take_less_memory(is_lean):
    def peak(recomputes):
        model = lazarus_models.init_model("tiny-test", load_tokenizer("byte"), seed=0).model
        wrap_layers(model, Wrapping(low_memory=is_lean, gradient_checkpointing=recomputes))
        ids = mx.random.randint(0, 200, (4, 256), key=mx.random.key(0))
        model.train()
        evaluate([model.parameters(), ids])
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        segments = mx.zeros(ids.shape, dtype=mx.int32)  # as a training step attends

        def loss(ids: mx.array) -> mx.array:
            return model(ids, cache=segment_caches(model, segments)).square().mean()

        evaluate(nn.value_and_grad(model, loss)(ids))
        return mx.get_peak_memory() - before

    assert peak(recomputes=True) < 0.8 * peak(recomputes=False)


def test_blocks_of_other_models_are_left_alone(setup):
    first, second = (lazarus_models.load(setup.model).model for _ in range(2))
    wrap_layers(first, Wrapping(gradient_checkpointing=True))
    assert isinstance(first.layers[0], Recomputed)
    assert type(second.layers[0]) is Block


def test_dropout_which_would_fall_elsewhere_the_second_time_is_refused(setup, lora_settings):
    with pytest.raises(ValidationError, match="would drop other inputs"):
        setup.config(recomputes=True, lora=lora_settings)
