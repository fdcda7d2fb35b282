import pytest
from pydantic import ValidationError

import lazarus_models
from lazarus_models.backend import mx
from lazarus_models.decoder import Block
from lazarus_models.parameters import flatten
from lazarus_train.batches import make_batch
from lazarus_train.gate import enforce
from lazarus_train.recompute import RecomputedBlock, recompute_blocks
from lazarus_train.step import compute_gradients
from lazarus_train.tasks import CausalTask


def causal_loss(model, batch):
    return CausalTask().loss(model, batch)


@pytest.mark.parametrize("use_lora", [False, True])
def test_recomputed_blocks_give_the_same_loss_and_gradients(setup, use_lora):
    enforced = enforce(setup.config())
    step = enforced.plan.step(0)
    batch = make_batch(step.rows, enforced.dataset, step.row_len)
    found = []
    for recomputes in (False, True):
        model = lazarus_models.load(setup.model).model
        if use_lora:
            lazarus_models.apply_lora(model, lazarus_models.LoraConfig(rank=2), seed=0)
        if recomputes:
            recompute_blocks(model)
        found.append(compute_gradients(model, causal_loss, [batch], int(enforced.units[0]), 1e9))
    plain, recomputed = (flatten(each.tree) for each in found)
    assert found[0].loss == found[1].loss
    assert plain.keys() == recomputed.keys()
    assert all(mx.allclose(plain[name], recomputed[name], atol=1e-7) for name in plain)
    assert any(mx.abs(each).max().item() > 0 for name, each in recomputed.items() if ".layers." in name)


def test_blocks_of_other_models_are_left_alone(setup):
    first, second = (lazarus_models.load(setup.model).model for _ in range(2))
    recompute_blocks(first)
    assert type(first.layers[0]) is RecomputedBlock
    assert type(second.layers[0]) is Block


def test_dropout_which_would_fall_elsewhere_the_second_time_is_refused(setup, lora_settings):
    with pytest.raises(ValidationError, match="would drop other inputs"):
        setup.config(recomputes=True, lora=lora_settings)
