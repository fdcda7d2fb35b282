"""Time boxes: a run that ends by itself before a limit, and goes on in the next box to the same bits."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import commands
from lazarus_core.time_box import Clock, TimeBox
from lazarus_plan import load_plan
from lazarus_train import (
    ClassificationSettings,
    DiffusionSettings,
    GrpoSettings,
    PpoSettings,
    PreferenceSettings,
    RunSettings,
    Watcher,
    train,
)
from lazarus_train.engine.time_box.pace import Pace
from lazarus_train.errors import CorruptCheckpoint, Interrupted, SetupError, TimeIsUp
from lazarus_train.run_dir.checkpoint import checkpoints, find_damage
from suite import thinned

NOW = 1.8e9
STEP_S = 60.0


@dataclass
class Hands:
    """Clocks that move with the steps of a run: a minute each."""

    wall: float = NOW
    monotonic: float = 0.0
    steps: list[int] = field(default_factory=list)

    def box(self, run_for=None, stop_at=None) -> TimeBox:
        return TimeBox.start(run_for, stop_at, Clock(lambda: self.wall, lambda: self.monotonic))

    def work(self, seconds) -> None:
        self.wall += seconds
        self.monotonic += seconds

    def watcher(self, **more) -> Watcher:
        def on_step(report):
            self.steps.append(report.step)
            self.work(STEP_S)

        return Watcher(**{"on_step": on_step, **more})


def in_boxes(config, hands, run_for) -> list[TimeIsUp]:
    """Runs a command again until it is finished."""
    ends = []
    while True:
        try:
            train(config, watcher=hands.watcher(), time_box=hands.box(run_for))
        except TimeIsUp as ended:
            ends.append(ended)
            assert len(ends) < 20, "every box trains a step"
        else:
            return ends


def boxes_of(config) -> list[dict]:
    return [json.loads(line) for line in (config.output / "time_boxes.jsonl").read_text().splitlines()]


CASES = ("causal", "adapters", "preference", "grpo", "ppo", "diffusion", "classification")


def case_of(case, setup, lora_settings) -> dict:
    """Settings of a run with an objective; the data and the plan fit it."""
    drawn = {"reward": "exact", "group_size": 2, "prompts_per_step": 2, "max_new_tokens": 4}
    match case:
        case "adapters":
            return {"lora": lora_settings, "eval_data": {"held-out": setup.data}, "ema": 0.9}
        case "preference":
            setup.write_rows([{"prompt": f"{a}?", "chosen": f"{a + 1}.", "rejected": "no."} for a in range(24)])
            setup.build_plan(epochs=3)
            return {"objective": PreferenceSettings()}
        case "classification":
            setup.write_rows(
                [{"prompt": f"Is {a} even?", "completion": " yes" if a % 2 == 0 else " no"} for a in range(24)]
            )
            setup.build_plan(epochs=3)
            return {"objective": ClassificationSettings()}
        case "diffusion":
            return {"objective": DiffusionSettings(mask_id=299)}
        case "grpo":
            return {"objective": GrpoSettings(**drawn)}
        case "ppo":
            return {"objective": PpoSettings(**drawn)}
        case _:
            return {}


@pytest.mark.slow
@pytest.mark.parametrize("case", thinned(CASES, ["grpo"]))
def test_a_run_in_boxes_is_the_run_without_them_to_the_bit(setup, lora_settings, case):
    more = case_of(case, setup, lora_settings)
    more = {"max_steps": 5, **more}
    straight = train(setup.config("straight", save_every=1, **more))
    hands = Hands()
    ends = in_boxes(setup.config("boxed", save_every=1, **more), hands, "130s")
    assert len(ends) == 2, "three boxes"
    assert hands.steps == list(range(1, straight.steps + 1)), "no step twice"
    assert setup.fingerprints("boxed") == setup.fingerprints("straight")
    assert setup.audit("boxed") == setup.audit("straight"), "a checkpoint at every step: the whole log is the same"
    assert (setup.folder / "boxed/config.json").read_text() == (
        setup.folder / "straight/config.json"
    ).read_text().replace("straight", "boxed")


@pytest.mark.slow
def test_compiled_steps_in_boxes_are_the_run_without_them(setup, as_gpu):
    """A step of one graph is logged when the next one is prepared, so a box must look between them too."""
    as_gpu(True)
    straight = train(setup.config("straight", save_every=None))
    hands = Hands()
    ends = in_boxes(setup.config("boxed", save_every=None), hands, "310s")
    assert ends, "several boxes"
    assert hands.steps == list(range(1, straight.steps + 1)), "no step twice"
    assert all(line["elapsed_s"] <= 310 + STEP_S for line in boxes_of(setup.config("boxed"))), (
        "one step too many at most"
    )
    assert setup.fingerprints("boxed") == setup.fingerprints("straight")


def test_the_checkpoint_of_a_box_is_whole_and_what_is_left_is_counted(setup):
    config, hands, plan = setup.config(save_every=None), Hands(), load_plan(setup.plan)
    with pytest.raises(TimeIsUp, match="run the same command to continue") as caught:
        train(config, watcher=hands.watcher(), time_box=hands.box("290s"))
    left = caught.value.left
    assert (caught.value.exit_code, caught.value.code) == (0, "LR-E280")
    assert left.done == hands.steps[-1] >= 3
    assert hands.wall + STEP_S + 1 > NOW + 290 >= hands.wall, (
        "no further step with its checkpoint fits; the limit was kept"
    )
    assert [path.name for path in checkpoints(config.output / "checkpoints")] == [left.checkpoint.name]
    assert find_damage(left.checkpoint) is None
    steps = [plan.step(number) for number in range(left.done, len(plan))]
    assert (left.steps, left.tokens) == (len(steps), sum(step.tokens for step in steps))
    done = sum(plan.step(number).tokens for number in range(left.done))
    assert left.seconds == pytest.approx(left.done * STEP_S * left.tokens / done)
    (line,) = boxes_of(config)
    assert (line["step"], line["trained"], line["ended"], line["limit_s"]) == (left.done, left.done, "time is up", 290)
    assert line["elapsed_s"] == pytest.approx(left.done * STEP_S)


def test_other_boxes_continue_and_the_last_one_says_finished(setup):
    hands, config = Hands(), setup.config("boxed", max_steps=7)
    with pytest.raises(TimeIsUp):
        train(config, watcher=hands.watcher(), time_box=hands.box("3m"))
    hands.work(1e5)
    with pytest.raises(TimeIsUp):
        train(config, watcher=hands.watcher(), time_box=hands.box("4m"))
    train(config)
    train(config, watcher=hands.watcher(), time_box=hands.box("1h"))
    train(setup.config("straight", max_steps=7))
    assert setup.fingerprints("boxed") == setup.fingerprints("straight")
    assert [line["ended"] for line in boxes_of(config)] == ["time is up", "time is up", "finished"]
    assert boxes_of(config)[-1]["trained"] == 0


def test_a_computer_that_sleeps_over_the_limit_stops_after_the_step_in_which_it_slept(setup):
    hands = Hands()

    def on_step(report):
        hands.work(1)
        hands.wall += 8 * 3600 if report.step == 2 else 0

    with pytest.raises(TimeIsUp) as caught:
        train(setup.config(), watcher=Watcher(on_step=on_step), time_box=hands.box("30m"))
    assert caught.value.left.done == 2
    assert caught.value.left.seconds < 60, "time asleep is no time of training"


def test_a_slow_checkpoint_leaves_room_for_the_next_one():
    hands = Hands()
    pace = Pace(hands.box("10m"))
    with pace.step(10):
        hands.work(20)
    with pace.saving():
        hands.work(100)
    hands.work(250)
    assert not pace.is_over(), "230 s are left: a step of 20 s, a checkpoint of 100 s, and as much to read it"
    hands.work(11)
    assert pace.is_over()


def test_the_next_box_knows_how_long_steps_and_checkpoints_took(setup):
    hands, config = Hands(), setup.config(save_every=1)

    with pytest.raises(TimeIsUp):
        train(config, watcher=hands.watcher(), time_box=hands.box("3m"))
    (line,) = boxes_of(config)
    line["save_s"] = 1000
    (config.output / "time_boxes.jsonl").write_text(json.dumps(line) + "\n")
    before = list(hands.steps)
    with pytest.raises(TimeIsUp, match=r"before a step of this command .* takes about 33 min") as caught:
        train(config, watcher=hands.watcher(), time_box=hands.box("30m"))
    assert hands.steps == before
    assert caught.value.left.checkpoint.name == f"step-{before[-1]:07d}"


def test_a_box_that_ends_in_an_evaluation_goes_on_from_its_checkpoint(setup):
    settings = {"save_every": None, "eval_data": {"held-out": setup.data}, "eval_every": 2, "max_steps": 6}
    train(setup.config("straight", **settings))
    hands = Hands()
    measured = []

    def on_measure(done, total):
        measured.append(done)
        hands.work(200 if len(hands.steps) == 2 else 0)

    with pytest.raises(TimeIsUp) as caught:
        train(setup.config("boxed", **settings), watcher=hands.watcher(on_measure=on_measure), time_box=hands.box("5m"))
    assert caught.value.left.done == 2
    assert measured[-1] < max(measured), "gave up in the middle"
    hands.steps.append(0)
    train(setup.config("boxed", **settings), watcher=hands.watcher(on_measure=on_measure), time_box=hands.box("1h"))
    assert setup.fingerprints("boxed") == setup.fingerprints("straight")


def test_a_box_that_is_over_while_rows_are_encoded_trains_nothing(setup):
    hands = Hands()
    with pytest.raises(TimeIsUp, match="while rows were encoded, before a step") as caught:
        train(setup.config(), watcher=Watcher(on_rows=lambda _: hands.work(400)), time_box=hands.box("5m"))
    assert caught.value.left is None
    assert not (setup.folder / "run").exists()


def test_a_request_to_stop_is_no_end_of_the_box(setup, stop_after):
    hands = Hands()
    with pytest.raises(Interrupted, match="stopped after step 2") as caught:
        train(setup.config(), watcher=stop_after(2), time_box=hands.box("1h"))
    assert type(caught.value) is Interrupted
    assert [line["ended"] for line in boxes_of(setup.config())] == ["stopped"]


def test_a_checkpoint_that_the_disk_did_not_keep_is_an_error(setup, monkeypatch):
    from lazarus_train.engine import training_loop

    def lossy(path, *given):
        sealed = trainer_write(path, *given)
        (path / "optimizer.safetensors").write_bytes(b"lost")
        return sealed

    trainer_write = training_loop.write_checkpoint
    monkeypatch.setattr(training_loop, "write_checkpoint", lossy)
    hands = Hands()
    with pytest.raises(CorruptCheckpoint, match=r"optimizer\.safetensors"):
        train(setup.config(), watcher=hands.watcher(), time_box=hands.box("3m"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"run_for": "30"}, "is not a duration"),
        ({"stop_at": "7"}, "is not a time"),
    ],
)
def test_malformed_limits_are_refused_with_the_settings(setup, settings, words):
    with pytest.raises(ValueError, match=words):
        RunSettings(**dict(setup.config()), **settings)


def test_a_date_in_the_past_is_refused_at_the_start(setup):
    settings = RunSettings(**dict(setup.config()), stop_at="2020-01-01T00:00")
    with pytest.raises(SetupError, match="`stop_at`: '2020-01-01T00:00' is in the past: give another") as caught:
        settings.time_box()
    assert caught.value.code == "LR-E281"
    assert RunSettings(**dict(setup.config())).time_box() is None


def test_limits_are_no_part_of_what_a_run_records(setup):
    settings = RunSettings(**dict(setup.config()), run_for="30m", stop_at="07:00")
    assert settings.train_config() == setup.config()


@pytest.mark.slow
def test_the_command_ends_by_itself_with_exit_0_and_names_what_is_left(setup):
    setup.build_plan(epochs=300)
    run = setup.folder / "run"
    words = ["sft", "--model", setup.model, "--data", setup.data, "--batch-plan", setup.plan, "-o", run, "--json"]

    def lazarus_train(*more):
        return commands.run([sys.executable, "-m", "lazarus_train", *map(str, (*words, *more))])

    done = lazarus_train("--for", "1s")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["final"], found["output"]) == (None, str(run))
    assert found["steps"] + found["left"]["steps"] == len(load_plan(setup.plan))
    assert "time box: ends before 20" in done.stderr
    assert "the time box ended" in done.stderr
    assert not (run / "final").exists()
    if found["steps"]:  # a busy machine may not train a step in this time
        assert find_damage(Path(found["checkpoint"])) is None
    past = lazarus_train("--stop-at", "2020-01-01T00:00")
    assert (past.returncode, past.stdout) == (2, "")
    assert past.stderr == "error: --stop-at: '2020-01-01T00:00' is in the past: give another [LR-E281]\n"
    for option, words_of in (
        ("--for", "'soon' is not a duration: give one"),
        ("--stop-at", "'soon' is not a time: give one"),
    ):
        wrong = lazarus_train(option, "soon")
        assert wrong.returncode == 2
        assert f"{option}: {words_of} such as" in wrong.stderr.replace("\n", " ")
