import dataclasses
import json

import pytest

import lazarus_models
import lazarus_models.trees
from lazarus_models.backend import mx
from lazarus_models.trees import flatten
from lazarus_train import DiffusionSettings, MntpSettings
from lazarus_train.callbacks.base import Watcher
from lazarus_train.config import LoraConfig, OptimizerSettings
from lazarus_train.data.batches import make_batch
from lazarus_train.devices import SMALL_BYTES, device_policy, prepare_device
from lazarus_train.engine.gradients import CompiledGradients, LossGradients
from lazarus_train.engine.step import compute_gradients
from lazarus_train.engine.trainer import train
from lazarus_train.engine.whole_step import StepArrays, WholeStep
from lazarus_train.errors import Interrupted, NonFinite
from lazarus_train.objectives import forward
from lazarus_train.objectives.causal import CausalObjective
from lazarus_train.objectives.next_token import token_nll, token_nll_in_place
from lazarus_train.preflight.inputs import check_run
from suite import thinned


def causal_loss(model, batch):
    return CausalObjective().loss(model, batch)


def test_what_a_gpu_computes_is_what_a_cpu_computes(setup, monkeypatch):
    enforced = check_run(setup.config())
    step = enforced.plan.step(0)
    batch = make_batch(step.rows, enforced.dataset, step.row_len)
    model = lazarus_models.load(setup.model).model
    found = []
    for labels_only in (True, False):
        policy = dataclasses.replace(device_policy(), labels_only=labels_only)
        monkeypatch.setattr(forward, "device_policy", lambda policy=policy: policy)
        found.append(compute_gradients(model, LossGradients(causal_loss), [batch], int(enforced.units[0]), 1e9))
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


RUNS = {
    "pretrain": {},
    "recomputed": {"recomputes": True},
    "noise": {"neftune_alpha": 5.0, "ema": 0.9},
    "mixed precision": {"mixed_precision": True},
    "accumulation": {"micro_rows": 1},
    "lora with dropout": {"lora": LoraConfig(rank=2, dropout=0.3)},
    "muon": {"optimizer": OptimizerSettings(name="muon")},
    "adafactor": {"optimizer": OptimizerSettings(name="adafactor")},
    "lion": {"optimizer": OptimizerSettings(name="lion")},
    "sgd": {"optimizer": OptimizerSettings(name="sgd")},
    "mntp": {"objective": MntpSettings(mask_id=299)},
    "joint diffusion": {"objective": DiffusionSettings(mask_id=299, causal_share=0.5, truncated_share=0.3)},
}


def counting(write_down, written):
    def traced(self, *given):
        written.append(type(self))
        return write_down(self, *given)

    return traced


@pytest.mark.slow
@pytest.mark.parametrize("name", thinned(RUNS, ["lora with dropout"]))
def test_a_compiled_run_is_the_run(setup, as_gpu, monkeypatch, name):
    """Same losses and weights; a graph is written down once for all steps of a shape."""
    written = []
    for kind in (CompiledGradients, WholeStep):
        monkeypatch.setattr(kind, "_write_down", counting(kind._write_down, written))
    setup.build_plan(token_budget=96 * 2, row_len=96)
    found = {}
    for compiles in (False, True):
        as_gpu(compiles)
        train(setup.config(f"run-{compiles}", **RUNS[name]))
        lines = (setup.folder / f"run-{compiles}/metrics.jsonl").read_text().splitlines()
        weights = lazarus_models.trees.weights(lazarus_models.load(setup.folder / f"run-{compiles}/final").model)
        found[compiles] = [json.loads(line)["loss"] for line in lines], weights
        assert bool(written) is compiles
    assert set(written) == {CompiledGradients if name == "accumulation" else WholeStep}
    (losses, weights), (expected, expected_weights) = found[True], found[False]
    assert len(losses) > 2 * len(written)
    assert losses == pytest.approx(expected, rel=1e-5)
    for each in weights:
        assert mx.allclose(weights[each], expected_weights[each], rtol=1e-4, atol=1e-5), each


@pytest.mark.slow
def test_a_compiled_run_that_was_stopped_goes_on_with_the_same_bits(setup, as_gpu, stop_after):
    as_gpu(True)
    settings = {"lora": LoraConfig(rank=2, dropout=0.3), "neftune_alpha": 5.0}
    train(setup.config("straight", **settings))
    with pytest.raises(Interrupted):
        train(setup.config("stopped", **settings), watcher=stop_after(2))
    train(setup.config("stopped", **settings))
    assert setup.fingerprints("stopped") == setup.fingerprints("straight")


def test_a_row_as_long_as_its_sample_is_not_compiled(setup, as_gpu, monkeypatch):
    """Every step of a padded plan may have another shape: each would be a graph of its own."""
    as_gpu(True)
    for kind in (CompiledGradients, WholeStep):
        monkeypatch.setattr(kind, "_write_down", lambda *given: pytest.fail("compiled"))
    setup.build_plan(mode="padded", token_budget=192)
    train(setup.config())


def test_what_reads_parts_of_rows_is_not_compiled(setup, as_gpu, monkeypatch):
    """Two batches of one shape may have other parts, which a graph would take from the first."""
    as_gpu(True)
    for kind in (CompiledGradients, WholeStep):
        monkeypatch.setattr(kind, "_write_down", lambda *given: pytest.fail("compiled"))
    setup.write_rows([{"prompt": f"Is {a} more than 3?", "completion": "yes" if a > 3 else "no"} for a in range(8)])
    setup.build_plan(token_budget=192, row_len=96)
    train(setup.config(objective={"kind": "classification"}))


@pytest.mark.slow
def test_a_step_is_logged_while_the_device_computes_the_next_one(setup, as_gpu, monkeypatch):
    """A second run that waits more often has the same bits."""
    as_gpu(True)
    events = []
    begin, read = StepArrays.begin, StepArrays.read
    monkeypatch.setattr(StepArrays, "begin", lambda *given: (events.append("begin"), begin(*given))[1])
    monkeypatch.setattr(StepArrays, "read", lambda *given: (events.append("read"), read(*given))[1])
    watcher = Watcher(on_step=lambda report: events.append(report.step))
    settings = {"save_every": None, "max_steps": 4, "ema": 0.9}
    train(setup.config("once", **settings), watcher=watcher)
    assert events == ["begin", "read", "begin", 1, "read", "begin", 2, "read", "begin", 3, "read", 4]
    train(setup.config("saved", **{**settings, "save_every": 2}))  # waits for every second step
    assert setup.fingerprints("once") == setup.fingerprints("saved")


@pytest.mark.thorough
def test_a_loss_that_is_not_finite_stops_a_compiled_run_at_its_step(setup, as_gpu):
    found = {}
    for compiles in (False, True):
        as_gpu(compiles)
        config = setup.config(
            f"run-{compiles}", optimizer=OptimizerSettings(name="sgd", learning_rate=1e30), save_every=None
        )
        with pytest.raises(NonFinite) as error:
            train(config)
        lines = (setup.folder / f"run-{compiles}/metrics.jsonl").read_text().splitlines()
        found[compiles] = error.value.message, [json.loads(line)["step"] for line in lines]
    assert found[True] == found[False]
    assert found[True][1] == list(range(1, len(found[True][1]) + 1))
