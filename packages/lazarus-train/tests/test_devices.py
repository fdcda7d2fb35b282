import dataclasses

import pytest

import lazarus_models
from lazarus_models.backend import mx
from lazarus_models.parameters import flatten
from lazarus_train import forward
from lazarus_train.batches import make_batch
from lazarus_train.devices import SMALL_BYTES, device_policy, prepare_device
from lazarus_train.gate import enforce
from lazarus_train.objectives.causal import token_nll, token_nll_in_place
from lazarus_train.step import compute_gradients
from lazarus_train.tasks import CausalTask


def causal_loss(model, batch):
    return CausalTask().loss(model, batch, seed=0)


def test_what_a_gpu_computes_is_what_a_cpu_computes(setup, monkeypatch):
    enforced = enforce(setup.config())
    step = enforced.plan.step(0)
    batch = make_batch(step.rows, enforced.dataset, step.row_len)
    model = lazarus_models.load(setup.model).model
    found = []
    for labels_only in (True, False):
        policy = dataclasses.replace(device_policy(), labels_only=labels_only)
        monkeypatch.setattr(forward, "device_policy", lambda policy=policy: policy)
        found.append(compute_gradients(model, causal_loss, [batch], int(enforced.units[0]), 1e9))
    assert found[0].loss == pytest.approx(found[1].loss, rel=1e-6)
    ours, theirs = flatten(found[0].tree), flatten(found[1].tree)
    assert all(mx.allclose(ours[name], theirs[name], atol=1e-6) for name in theirs)


def test_logits_that_are_overwritten_give_the_same_loss_and_slopes():
    logits = 4 * mx.random.normal((40, 30), key=mx.random.key(0))
    targets = mx.random.randint(0, 30, (40,), key=mx.random.key(1))
    weights = mx.arange(40) / 40
    found = [
        mx.value_and_grad(lambda logits, nll=nll: (weights * nll(1 * logits, targets)).sum())(logits)
        for nll in (token_nll, token_nll_in_place)
    ]
    assert found[0][0].item() == pytest.approx(found[1][0].item(), rel=1e-6)
    assert mx.allclose(found[0][1], found[1][1], atol=1e-6)
    far = mx.array([[1e4, -1e4, 0.0]])
    assert mx.isfinite(mx.grad(lambda logits: token_nll_in_place(logits, mx.array([1])).sum())(far)).all()


@pytest.mark.skipif(mx.default_device().type != mx.cpu, reason="tells of a CPU")
def test_a_cpu_is_prepared_once_and_says_how():
    policy = prepare_device()
    assert policy is prepare_device()
    assert policy.device == "cpu"
    assert policy.threads >= 1
    assert policy.labels_only


@pytest.mark.skipif(mx.default_device().type != mx.cpu, reason="tells of a CPU")
def test_a_large_model_is_computed_by_one_thread_with_every_core_for_its_products(monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    device_policy.cache_clear()
    small, large = device_policy(SMALL_BYTES), device_policy(SMALL_BYTES + 1)
    device_policy.cache_clear()
    assert large.threads == 1
    assert small.threads * (small.blas_threads or 0) == large.blas_threads or small.threads == 1
