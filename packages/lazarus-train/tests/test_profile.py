import itertools
import json

import pytest

from lazarus_train import LoraConfig, train
from lazarus_train.callbacks.base import Watcher
from lazarus_train.callbacks.profiling import Device, Memory, Profiler, profile_table
from lazarus_train.engine.gradients import LossGradients
from lazarus_train.engine.resources.profiling import ProfiledGradients
from lazarus_train.errors import Interrupted

VARIANTS = {
    "plain": {},
    "micro rows, averaged, noise": {"micro_rows": 1, "ema": 0.9, "neftune_alpha": 5.0},
    "dropout and recomputed": {"lora": LoraConfig(dropout=0.1)},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.slow
def test_the_weights_and_logs_are_the_same_with_and_without_a_profile(make_setup, tmp_path, variant):
    setup = make_setup(tmp_path)
    settings = {"max_steps": 6, "eval_data": {"held-out": setup.data}, "eval_every": 3, **VARIANTS[variant]}
    train(setup.config("plain", **settings))
    profiler = Profiler(3)
    train(setup.config("profiled", **settings), profiler=profiler)
    assert setup.fingerprints("plain") == setup.fingerprints("profiled")
    assert list(profiler.steps) == [2, 3, 4]
    assert len(profiler.other_seconds) == 2


def test_a_profile_has_every_phase_and_opens_as_a_trace(make_setup, tmp_path):
    setup = make_setup(tmp_path)
    settings = {"max_steps": 5, "save_every": 2, "eval_data": {"held-out": setup.data}, "eval_every": 2}
    train(setup.config(**settings), profiler=Profiler(3))
    report = json.loads((tmp_path / "run/profile.json").read_bytes())
    phases = {each["name"]: each for each in report["phases"]}
    expected = {"read batch", "host to device", "forward", "backward", "optimizer", "evaluation", "checkpoint", "log"}
    assert phases.keys() == {*expected, "row digests", "other"}
    assert sum(each["seconds"] for each in phases.values()) == pytest.approx(report["seconds"])
    assert sum(each["share"] for each in phases.values()) == pytest.approx(1.0)
    assert all(phases[name]["peak_bytes"] > 0 for name in ("host to device", "optimizer", "checkpoint"))
    assert phases["checkpoint"]["count"] == 2, "steps 2 and 4"
    trace = json.loads((tmp_path / "run/profile.trace.json").read_bytes())["traceEvents"]
    steps = {
        event["name"]: (event["ts"], event["ts"] + event["dur"]) for event in trace if event["name"][:5] == "step "
    }
    assert list(steps) == ["step 2", "step 3", "step 4"]
    for event in trace:
        assert any(begin <= event["ts"] <= end + 1 for begin, end in steps.values())


def test_a_stopped_run_keeps_its_profile_and_a_new_run_removes_it(make_setup, tmp_path):
    setup, done = make_setup(tmp_path), []
    with pytest.raises(Interrupted):
        train(
            setup.config(),
            profiler=Profiler(10),
            watcher=Watcher(on_step=done.append, should_stop=lambda: len(done) == 3),
        )
    assert json.loads((tmp_path / "run/profile.json").read_bytes())["steps"] == [2, 3]
    train(setup.config(max_steps=1), resume="none")
    assert not [*(tmp_path / "run").glob("profile*")]


def test_without_a_profile_nothing_is_measured_and_nothing_is_written(make_setup, tmp_path):
    setup, profiler = make_setup(tmp_path), Profiler()
    train(setup.config(max_steps=2), profiler=profiler)
    assert not profiler.steps and not [*(tmp_path / "run").glob("profile*")]


def test_the_figures_of_a_profile_by_hand():
    """Two steps of 10 s after one that is not measured: 4 s forward on two threads, 2 s optimizer, the rest other."""
    clock = itertools.count()
    marks: list[str] = []
    profiler = Profiler(2, clock=lambda: float(next(clock)))
    peaks = iter([Memory(1, 5), Memory(2, 9)])

    class Mark:
        def __init__(self, name):
            marks.append(name)

        def __enter__(self):
            marks.append("in")

        def __exit__(self, *_):
            marks.append("out")

    profiler.use(Device(memory=lambda: next(peaks), mark=Mark))
    for done in (1, 2, 3, 4):
        with profiler.step(done), profiler.phase("optimizer"):
            pass
    report = profiler.report()
    assert list(profiler.steps) == [2, 3] and report["seconds"] == 6.0 and profiler.other_seconds == [1.0]
    [optimizer, other] = sorted(report["phases"], key=lambda each: each["name"])
    assert (optimizer["seconds"], optimizer["peak_bytes"], optimizer["active_bytes"]) == (2.0, 9, 2)
    assert (other["seconds"], other["share"]) == (4.0, pytest.approx(2 / 3))
    assert marks == ["optimizer", "in", "out"] * 2
    assert profile_table(report)[-1] == "2 profiled steps, median 3,000.00 ms, 3.00 times a step that was not profiled"


def test_a_compiled_graph_is_one_phase():
    profiler = Profiler(1)
    calls = []

    def make(loss_fn):
        return lambda model, batch, units: calls.append(loss_fn) or {}

    gradients = ProfiledGradients(make, "loss", profiler, splits=False)
    for done in (1, 2):
        with profiler.step(done):
            gradients(None, None, None)
    assert calls == ["loss", "loss"]
    assert {each["name"] for each in profiler.report()["phases"]} == {"forward and backward", "other"}
    assert LossGradients(lambda *_: None).means == ("loss",)
