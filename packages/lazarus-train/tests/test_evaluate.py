import math

import pytest

import lazarus_models
from lazarus_models.backend import mx
from lazarus_train.evaluate import held_out, plan_held_out
from lazarus_train.gate import enforce
from lazarus_train.objectives.settings import CausalSettings
from lazarus_train.tasks import CausalTask


def test_the_held_out_loss_is_that_of_every_sample_by_itself(setup):
    lm = lazarus_models.load(setup.model)
    dataset = enforce(setup.config()).dataset
    nats, labels, answers = 0.0, 0, 0
    for index in range(len(dataset)):
        ids, loss_mask = dataset.sample(index)
        logits = lm.model(mx.array(ids)[None])[0]
        losses = mx.logsumexp(logits, axis=-1)[:-1] - logits[mx.arange(len(ids) - 1), mx.array(ids[1:])]
        nats += sum(loss for loss, is_label in zip(losses.tolist(), loss_mask[1:], strict=True) if is_label)
        labels += int(loss_mask[1:].sum())
        answers += len(lm.tokenizer.decode(ids[loss_mask].tolist(), skip_special=True).encode())
    data = plan_held_out(dataset, CausalSettings(), lm.tokenizer, "data")
    found = held_out(lm.model, CausalTask(), data)
    assert found.units == labels
    assert found.loss == pytest.approx(nats / labels, abs=1e-5)
    assert found.perplexity == pytest.approx(math.exp(nats / labels), rel=1e-4)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / answers, rel=1e-5)


def test_measuring_is_without_dropout_and_leaves_the_mode_as_it_was(setup):
    lm = lazarus_models.load(setup.model)
    lazarus_models.apply_lora(lm.model, lazarus_models.LoraConfig(rank=2, dropout=0.5), seed=0)
    adapters = lazarus_models.adapter_weights(lm.model)
    lazarus_models.set_weights(lm.model, {name: mx.ones_like(tensor) for name, tensor in adapters.items()})
    dataset = enforce(setup.config()).dataset
    data = plan_held_out(dataset, CausalSettings(), lm.tokenizer, "data")
    lm.model.eval()
    without = held_out(lm.model, CausalTask(), data)
    lm.model.train()
    assert held_out(lm.model, CausalTask(), data) == without
    assert lm.model.training
