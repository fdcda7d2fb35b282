"""A run, stopped anywhere and resumed, is the run that was never stopped: law 4."""

import json
import os
import signal
import sys

import pytest

import commands
from lazarus_plan import load_plan
from lazarus_plan.errors import StalePlan
from lazarus_train import Watcher, train
from lazarus_train.errors import Interrupted, SetupError
from suite import chosen


def test_stopped_after_every_step_and_resumed_the_run_is_the_same(setup, stop_after):
    steps = train(setup.config("straight")).steps
    assert steps == len(load_plan(setup.plan)) > 6
    straight = setup.fingerprints("straight")
    for step in chosen(range(1, steps)):
        with pytest.raises(Interrupted, match=f"after step {step} of {steps}"):
            train(setup.config(f"stopped-{step}", save_every=None), watcher=stop_after(step))
        train(setup.config(f"stopped-{step}", save_every=None))
        assert setup.fingerprints(f"stopped-{step}") == straight


def test_with_adapters_and_dropout_too(setup, stop_after, lora_settings):
    train(setup.config("straight", lora=lora_settings))
    with pytest.raises(Interrupted):
        train(setup.config("stopped", lora=lora_settings), watcher=stop_after(3))
    train(setup.config("stopped", lora=lora_settings))
    assert setup.fingerprints("stopped") == setup.fingerprints("straight")


def test_a_run_of_fewer_steps_goes_on_to_more(setup):
    train(setup.config("straight", max_steps=6))
    train(setup.config("longer", max_steps=3))
    train(setup.config("longer", max_steps=6))
    assert setup.fingerprints("longer") == setup.fingerprints("straight")


def test_work_beyond_the_last_checkpoint_is_done_again_and_the_fork_stays_visible(setup):
    train(setup.config("straight", save_every=4))

    class Killed(BaseException):
        pass

    def kill(report):
        if report.step == 6:
            raise Killed

    with pytest.raises(Killed):
        train(setup.config("killed", save_every=4), watcher=Watcher(on_step=kill))
    assert len((setup.folder / "killed" / "metrics.jsonl").read_text().splitlines()) == 6
    train(setup.config("killed", save_every=4))
    assert setup.fingerprints("killed") == setup.fingerprints("straight")
    assert setup.audit("killed") == setup.audit("straight")
    fork = [json.loads(line) for line in (setup.folder / "killed" / "audit.jsonl.rewound").read_text().splitlines()]
    assert fork[0]["rewound_to"] == 4
    assert [line["step"] for line in fork[1:]] == [4, 5]


@pytest.mark.slow
def test_killed_while_it_computes_and_resumed_the_run_is_the_same(setup):
    setup.build_plan(epochs=3)
    train(setup.config("straight"))
    arguments = [
        *("--model", setup.model, "--data", setup.data, "--batch-plan", setup.plan, "-o", setup.folder / "killed"),
        *("--learning-rate", "5e-3", "--save-every", "2"),
    ]
    command = [sys.executable, "-m", "lazarus_train", "sft", *map(str, arguments)]
    audit = setup.folder / "killed" / "audit.jsonl"
    with commands.Command(command) as process:
        commands.wait_until(process, lambda: audit.is_file() and audit.read_bytes().count(b"\n") > 5)
        process.send_signal(signal.SIGKILL)
        assert process.finish().returncode == -signal.SIGKILL
    train(setup.config("killed"))
    assert setup.fingerprints("killed") == setup.fingerprints("straight")
    assert setup.audit("killed") == setup.audit("straight")


def test_a_finished_run_is_left_as_it_is(setup):
    train(setup.config())
    before = setup.fingerprints("run"), setup.audit("run")
    assert train(setup.config()).steps == len(load_plan(setup.plan))
    assert (setup.fingerprints("run"), setup.audit("run")) == before
    assert not (setup.folder / "run/audit.jsonl.rewound").exists()


def test_resume_none_starts_again_and_gives_the_same(setup):
    train(setup.config(max_steps=4))
    before = setup.fingerprints("run")
    train(setup.config(max_steps=4), resume="none")
    assert setup.fingerprints("run") == before


def test_a_checkpoint_of_another_plan_is_refused(setup):
    train(setup.config(max_steps=2))
    setup.build_plan(seed=1)
    with pytest.raises(StalePlan, match="the checkpoint followed plan"):
        train(setup.config())


def test_a_resume_from_nowhere_is_refused(setup):
    with pytest.raises(SetupError, match="no such checkpoint"):
        train(setup.config(), resume=str(setup.folder / "nothing"))


@pytest.mark.parametrize("place", ["run", "run/final", "run/checkpoints", ""])
def test_a_resume_from_a_folder_that_is_no_checkpoint_says_what_one_is(setup, place):
    train(setup.config(max_steps=2))
    resume = str(setup.folder / place) if place else ""
    with pytest.raises(SetupError, match=r"no such checkpoint; give .* such as .*run/checkpoints/step-0000001"):
        train(setup.config(), resume=resume)


def test_an_error_of_the_system_in_a_run_names_the_file_that_it_is_about(setup, monkeypatch):
    from lazarus_train.engine import trainer

    def refuse(*_, **__):
        (setup.folder / "no such file").read_bytes()

    monkeypatch.setattr(trainer, "find_checkpoint", refuse)
    with pytest.raises(FileNotFoundError) as caught:
        train(setup.config(max_steps=1))
    assert caught.value.filename == str(setup.folder / "no such file")


def test_what_kills_left_half_written_is_cleared_away_and_nothing_else(setup):
    train(setup.config(max_steps=2))
    run = setup.folder / "run"
    half = [
        run / f"checkpoints/.step-0000004.{os.getppid()}.tmp",  # another process has the number of the killed one
        run / "checkpoints/.step-0000001.99.old.tmp",
        run / "checkpoints/.step-0000002.99.old",
        run / ".final.9.tmp",
    ]
    for leftover in half:
        leftover.mkdir()
        (leftover / "model.safetensors").write_bytes(b"half")
    (run / "checkpoints/.latest.99.tmp").symlink_to("step-0000002")
    (run / ".mine.tmp").touch()
    train(setup.config(max_steps=4))
    assert not [path for path in half if path.exists()]
    assert [path.name for path in run.rglob(".*.tmp")] == [".mine.tmp"]


def test_two_runs_in_one_folder_are_refused(setup):
    def second(report):
        with pytest.raises(SetupError, match="another process trains in"):
            train(setup.config(), resume="none")

    train(setup.config(max_steps=1), watcher=Watcher(on_step=second))
    assert train(setup.config(max_steps=2)).steps == 2


def test_a_checkpoint_of_another_run_is_refused(setup):
    train(setup.config("first", max_steps=2))
    with pytest.raises(SetupError, match="is not from the run"):
        train(setup.config("second"), resume=str(setup.folder / "first/checkpoints/step-0000002"))


def test_a_resume_from_an_older_checkpoint_sets_the_newer_ones_aside(setup, stop_after):
    train(setup.config("straight", max_steps=8))
    train(setup.config("back", max_steps=6))
    older = setup.folder / "back/checkpoints/step-0000002"
    with pytest.raises(Interrupted):
        train(setup.config("back", save_every=None, max_steps=8), resume=str(older), watcher=stop_after(3))
    aside = setup.folder / "back/checkpoints.rewound"
    assert sorted(path.name for path in aside.iterdir()) == ["step-0000004", "step-0000006"]
    train(setup.config("back", max_steps=8))
    assert setup.fingerprints("back") == setup.fingerprints("straight")
    train(setup.config("back", max_steps=8), resume="none")
    assert not aside.exists()


def test_a_run_that_ended_earlier_leaves_no_trace_of_it_in_the_metrics(setup):
    for name, ends in (("straight", [6]), ("longer", [2, 3, 6])):
        for end in ends:
            train(setup.config(name, max_steps=end, eval_data={"held-out": setup.data}, eval_every=4))
    assert setup.fingerprints("longer") == setup.fingerprints("straight")
    lines = [json.loads(line) for line in (setup.folder / "longer/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "eval_loss" in line] == [0, 4, 6]


def test_stopped_while_it_measures_and_resumed_the_run_is_the_same(setup):
    settings = {"max_steps": 4, "save_every": None, "eval_data": {"held-out": setup.data}, "eval_every": 2}
    train(setup.config("straight", **settings))
    for at in range(3):
        asked: list[int] = []
        measured: list[int] = []

        def on_measure(done, total, at=at, asked=asked, measured=measured):
            measured.append(done)
            if measured.count(0) == at + 1 and done == 1:
                asked.append(1)

        with pytest.raises(Interrupted, match="run the same command to continue"):
            train(
                setup.config(f"stopped-{at}", **settings),
                watcher=Watcher(on_measure=on_measure, should_stop=lambda asked=asked: bool(asked)),
            )
        assert measured[-2:] == [0, 1], "gives up at once"
        train(setup.config(f"stopped-{at}", **settings))
        assert setup.fingerprints(f"stopped-{at}") == setup.fingerprints("straight")


def test_fewer_steps_than_were_done_are_refused_with_the_way_back(setup):
    train(setup.config(max_steps=6))
    with pytest.raises(SetupError, match=r"the run has done 6 steps; `resume` .*step-0000004 goes back to it"):
        train(setup.config(max_steps=4))
    with pytest.raises(SetupError, match="the run has done 6 steps; give a higher one"):
        train(setup.config(max_steps=3))
    assert train(setup.config(max_steps=4), resume=str(setup.folder / "run/checkpoints/step-0000004")).steps == 4


def test_a_finished_run_without_checkpoints_is_not_replaced(setup):
    import shutil

    train(setup.config(max_steps=2))
    shutil.rmtree(setup.folder / "run/checkpoints")
    before = (setup.folder / "run/final/model.safetensors").read_bytes()
    with pytest.raises(SetupError, match="finished run without checkpoints"):
        train(setup.config())
    assert (setup.folder / "run/final/model.safetensors").read_bytes() == before
    train(setup.config(max_steps=1), resume="none")
    assert (setup.folder / "run/final/model.safetensors").read_bytes() != before
