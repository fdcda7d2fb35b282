"""The estimate of peak memory against measured peaks, and what a run does with it."""

import itertools
import json
import resource
import subprocess
import sys

import pytest

from lazarus_models import LoraConfig, apply_lora, load
from lazarus_models.backend import mx
from lazarus_train import OptimizerSettings, Watcher, train
from lazarus_train.callbacks.reports import MemoryEstimate
from lazarus_train.devices import device_policy, weight_bytes
from lazarus_train.engine import setup as run_setup
from lazarus_train.engine.resources import memory
from lazarus_train.engine.resources.memory import StepShape, cgroup_limits, estimate_memory, fitting_rows, memory_limit
from lazarus_train.errors import SetupError
from suite import FAMILIES, share, thinned

FACTOR = 2.0
"""The estimate is right to within this factor."""
MEASURED = """
import resource, sys
from pathlib import Path
from lazarus_models.trees import evaluate
from lazarus_train.config import TrainConfig
from lazarus_train.devices import prepare_device
from lazarus_train.devices import weight_bytes
from lazarus_train.engine.state import TrainState
from lazarus_train.engine.resources.memory import StepShape, estimate_memory
from lazarus_train.cpu.thread_parallel import Replicas
from lazarus_train.engine.gradients import LossGradients
from lazarus_train.engine.step import compute_gradients
from lazarus_train.objectives.causal import CausalObjective
from lazarus_train.tune.measure import Setup, full_batches
model, rows, row_len = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
policy = prepare_device(weight_bytes(model))
lora = {"rank": 4} if "lora" in sys.argv else None
config = TrainConfig(
    model=model, data=model, batch_plan=model, output=model, recomputes="recomputes" in sys.argv, lora=lora
)
learner = TrainState.fresh(config, None)
evaluate(learner.lm.model.parameters())
estimate = estimate_memory(learner.lm.model, config, policy, StepShape(rows, row_len), rows)
replicas = Replicas(learner.lm.model, config.threads_of(policy.threads))
setup = Setup(model=model, row_len=row_len, rows=rows)
batches = full_batches(setup, learner.lm.config.vocab_size, replicas.threads)
for _ in range(2):
    found = compute_gradients(replicas, LossGradients(CausalObjective().loss), [batches], rows * (row_len - 1), 1.0)
    learner.optimizer.update(found.tree, 1e-4)
    learner.optimizer.evaluate()
if sys.platform == "linux":  # ru_maxrss would be the parent's, where that was larger
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(estimate.total - estimate.resident, peak - estimate.resident)
"""


def estimated_and_measured(model, rows, row_len, *words):
    """Bytes beyond those of the process before the first step."""
    command = [sys.executable, "-W", "ignore", "-c", MEASURED, model, rows, row_len, *words]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return map(int, done.stdout.split())


on_cpu = pytest.mark.skipif(mx.default_device().type != mx.cpu, reason="resident memory is a CPU's")


@on_cpu
@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "words"),
    thinned(
        itertools.product(FAMILIES, [(), ("recomputes",)]),
        [("llama", ()), ("jamba", ("recomputes",))],
    ),
    indirect=["family"],
)
@pytest.mark.thorough
def test_the_estimate_of_every_family_is_near_the_measured_peak(family, words):
    estimated, measured = estimated_and_measured(family, 8, 256, *words)
    assert measured / FACTOR < estimated < measured * FACTOR


@on_cpu
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "row_len"), thinned([("llama", 1024), ("mistral", 512), ("mamba", 1024)], [("llama", 1024)])
)
@pytest.mark.thorough
def test_the_estimate_holds_for_longer_rows_and_adapters(real_data, name, row_len):
    model = real_data / "models/families" / name
    for words in share(((), ("lora",)), 2, 1):
        estimated, measured = estimated_and_measured(model, 4, row_len, *words)
        assert measured / FACTOR < estimated < measured * FACTOR


@on_cpu
@pytest.mark.slow
@pytest.mark.thorough
def test_state_space_models_take_at_most_three_times_a_llamas_memory(real_data):
    def per_token(name):
        _, few = estimated_and_measured(real_data / "models/families" / name, 2, 256)
        _, many = estimated_and_measured(real_data / "models/families" / name, 10, 256)
        return (many - few) / (8 * 256)

    llama = per_token("llama")
    assert per_token("mamba") < 3 * llama
    assert per_token("jamba") < 3.5 * llama  # half of its layers have experts besides, two a token


def estimate_of(setup, rows=4, shape=None, **settings):
    config = setup.config(**settings)
    lm = load(setup.model)
    if config.lora is not None:
        apply_lora(lm.model, LoraConfig(rank=config.lora.rank), seed=0)
    return estimate_memory(lm.model, config, device_policy(), shape or StepShape(4, 32), rows)


def test_each_part_grows_with_what_it_is_made_of(setup):
    plain = estimate_of(setup)
    assert estimate_of(setup, rows=2).activations < plain.activations
    assert estimate_of(setup, shape=StepShape(4, 64)).logits == 2 * plain.logits
    assert estimate_of(setup, ema=0.9).moments > plain.moments
    assert estimate_of(setup, optimizer=OptimizerSettings(name="sgd")).moments < plain.moments
    assert estimate_of(setup, lora={"rank": 2}).gradients < plain.gradients
    assert "MiB at peak (weights" in plain.in_words()


def test_rows_are_halved_until_they_fit_where_nothing_was_asked(setup, monkeypatch):
    model, policy, shape = load(setup.model).model, device_policy(), StepShape(64, 512)
    sizes = {rows: estimate_memory(model, setup.config(), policy, shape, rows).total for rows in (64, 16)}
    monkeypatch.setattr(memory, "resident_bytes", lambda: 0)
    wanted = estimate_memory(model, setup.config(), policy, shape, 16).total
    monkeypatch.setattr(memory, "memory_limit", lambda: int(wanted / 0.9) + 1)
    assert sizes[64] > sizes[16]
    assert fitting_rows(model, setup.config(), policy, shape).rows == 16
    with pytest.raises(SetupError, match="set `micro_rows` lower"):
        fitting_rows(model, setup.config(micro_rows=40), policy, shape)
    assert fitting_rows(model, setup.config(micro_rows=8), policy, shape).rows == 8


def test_a_run_that_does_not_fit_ends_in_one_line_before_its_first_step(setup, monkeypatch):
    monkeypatch.setattr(memory, "memory_limit", lambda: 2**20)
    with pytest.raises(SetupError, match=r"the run needs about .* MiB .*; this process may take") as found:
        train(setup.config())
    assert found.value.exit_code == 2
    assert "\n" not in str(found.value)
    assert not (setup.folder / "run/metrics.jsonl").exists()


def test_weights_that_do_not_fit_are_not_loaded(monkeypatch):
    monkeypatch.setattr(memory, "memory_limit", lambda: 2**30)
    with pytest.raises(SetupError, match="the weights of the model are 2,048 MiB"):
        memory.check_weights_fit(2**31)
    memory.check_weights_fit(2**29)


FEW, ALL = (MemoryEstimate(0, 0, 0, 0, 0, 0, rows) for rows in (1, 10**6))
"""Estimates of a machine with little memory, and of one with much."""


def losses(setup, run):
    lines = map(json.loads, (setup.folder / run / "metrics.jsonl").read_text().splitlines())
    return [(line["loss"], line["grad_norm"]) for line in lines if "loss" in line]


def test_smaller_micro_batches_change_no_result(setup, monkeypatch):
    said = []
    train(setup.config("whole"), watcher=Watcher(on_memory=said.append))
    monkeypatch.setattr(memory, "resident_bytes", lambda: 0)
    model, policy = load(setup.model).model, device_policy(weight_bytes(setup.model))
    one_row = estimate_memory(model, setup.config(), policy, StepShape(2, 32), 1).total
    monkeypatch.setattr(memory, "memory_limit", lambda: int(one_row / 0.9) + 1)
    train(setup.config("small"), watcher=Watcher(on_memory=said.append))
    assert [each.rows for each in said] == [2, 1]
    for whole, small in zip(losses(setup, "whole"), losses(setup, "small"), strict=True):
        assert small == pytest.approx(whole, rel=1e-4)


def test_limits_of_control_groups_of_both_versions_count(tmp_path):
    own = tmp_path / "own"
    own.write_text("0::/user/job\n12:cpu,memory:/old\n3:cpuset:/x\n", encoding="utf-8")
    for folder, name, text in [
        ("user/job", "memory.max", "max\n"),
        ("user", "memory.max", "7000\n"),
        ("memory/old", "memory.limit_in_bytes", "5000\n"),
        ("x", "memory.max", "1\n"),
    ]:
        (tmp_path / "groups" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / folder / name).write_text(text, encoding="ascii")
    assert sorted(cgroup_limits(own, tmp_path / "groups")) == [5000, 7000]
    assert list(cgroup_limits(tmp_path / "absent", tmp_path)) == []


@on_cpu
def test_a_limit_of_the_process_counts(monkeypatch):
    whole = memory_limit()
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (2**33, 2**33))
    monkeypatch.setattr(memory, "_reserved_bytes", lambda: 2**32)
    assert memory_limit() == min(whole, 2**32)


def test_a_resumed_run_computes_as_many_rows_at_once_as_it_did(setup, monkeypatch):
    def weights_of(run):
        return (setup.folder / run / "final/model.safetensors").read_bytes()

    found = []
    monkeypatch.setattr(
        run_setup, "fitting_rows", lambda model, config, policy, shape: found.append(config.micro_rows) or FEW
    )
    train(setup.config("straight", max_steps=2, save_every=1))
    train(setup.config("stopped", max_steps=1))
    monkeypatch.setattr(
        run_setup, "fitting_rows", lambda model, config, policy, shape: found.append(config.micro_rows) or ALL
    )
    train(setup.config("stopped", max_steps=2))
    assert found == [None, None, FEW.rows]
    assert weights_of("stopped") == weights_of("straight")
