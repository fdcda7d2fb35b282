"""The time left of a recipe, by clocks of the test; and recipes in time boxes."""

import json
import sys
from dataclasses import dataclass, field, replace

import pytest

import commands
from lazarus_cli.recipes import Context, Progress, RecipeFolder, cli, load_recipe, run_recipe
from lazarus_cli.recipes.time_left import Forecast, TimeLeft
from lazarus_core.time_box import Clock, TimeBox
from lazarus_train.errors import TimeIsUp
from small_recipe import SMALL_RECIPE

LAZARUS = [sys.executable, "-m", "lazarus_cli"]
RECIPE = (
    SMALL_RECIPE
    + """
[pretrain]
model = "model"
plan = "plan"
max_steps = 6
[more]
type = "pretrain"
model = "pretrain"
plan = "plan"
max_steps = 3
"""
)
STAGES = ["lengths", "model", "more", "plan", "pretrain", "tokenizer"]


@dataclass
class Hands:
    now: float = 1000.0
    stages: list[str] = field(default_factory=list)

    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: self.now)


@pytest.fixture
def recipe(tmp_path):
    rows = [{"text": " ".join(f"word{number * each % 17}" for each in range(12))} for number in range(12)]
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (tmp_path / "recipe.toml").write_text(RECIPE, "utf-8")
    return load_recipe(str(tmp_path / "recipe.toml"))


def test_words_of_the_time_left():
    assert TimeLeft(400, ()).in_words() == "recipe: about 7 min left"
    assert TimeLeft(400, ("sft",)).in_words() == "recipe: more than 7 min left, without sft"
    assert TimeLeft(400, ("sft", "dpo")).in_words() == "recipe: more than 7 min left, without 2 stages"


def test_nothing_is_known_before_the_first_stage_and_a_stage_is_extrapolated(recipe, tmp_path):
    hands = Hands()
    forecast = Forecast(recipe, RecipeFolder(tmp_path / "r"), STAGES, lambda: hands.now)
    assert forecast.left() == TimeLeft(0, tuple(each.name for each in recipe.stages))
    forecast.begin("pretrain")
    forecast.advance(10, 30)  # resumed at step 10
    assert "pretrain" in forecast.left().unknown
    hands.now += 50
    forecast.advance(15, 30)
    assert forecast.left().seconds == pytest.approx(150), "10 s a step, 15 steps"
    forecast.end("pretrain")
    assert forecast.left().seconds == 0


@pytest.mark.slow
def test_a_recipe_in_boxes_is_the_recipe_without_them_and_its_time_left_is_known(recipe, tmp_path):
    whole, boxed = RecipeFolder(tmp_path / "whole"), RecipeFolder(tmp_path / "boxed")
    run_recipe(recipe, whole)
    hands, left = Hands(), []

    def boxed_run():
        box = TimeBox.start("250s", None, hands.clock())
        forecast = Forecast(recipe, boxed, STAGES, lambda: hands.now)

        def context(name):
            hands.stages.append(name)

            def report(done, total, unit, note):
                if unit == "steps":
                    hands.now += 60
                forecast.advance(done, total)
                left.append((name, done, forecast.left()))

            return Context(report=report, time_box=box)

        progress = Progress(
            on_begin=lambda name, *_: forecast.begin(name), on_end=lambda each: forecast.end(each.name), context=context
        )
        run_recipe(recipe, boxed, progress=progress)

    for begins in (True, False):
        with pytest.raises(TimeIsUp, match="run the same command to continue"):
            boxed_run()
        assert boxed.lock.exists() is False
        assert boxed.record("tokenizer") is not None
        assert ("more" not in hands.stages) is begins
    boxed_run()
    assert boxed.lock.read_bytes() == whole.lock.read_bytes()
    seen = [(done, each) for name, done, each in left if name == "pretrain"]
    assert [done for done, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert [each.seconds for done, each in seen if done in (3, 4)] == [
        pytest.approx(180, abs=1),
        pytest.approx(120, abs=1),
    ]
    (before_more,) = [each for done, each in seen if done == 5]
    assert before_more.unknown == (), "the second stage is estimated by the speed of the first"
    assert before_more.seconds < 61 + 60


@pytest.mark.slow
def test_a_stage_that_reads_what_ran_takes_as_long_as_before(recipe, tmp_path):
    folder = RecipeFolder(tmp_path / "r")
    run_recipe(recipe, folder)
    with folder.held():
        for name, seconds in (("more", 500.0), ("model", 70.0), ("pretrain", 300.0)):
            folder.finish(replace(folder.record(name), seconds=seconds))
    hands = Hands()
    forecast = Forecast(recipe, folder, STAGES, lambda: hands.now)
    assert forecast.left() == TimeLeft(0, ()), "every stage has a record"
    forecast.begin("pretrain")
    assert forecast.left() == TimeLeft(800.0, ()), "the model does not read it"
    hands.now += 100
    assert forecast.left().seconds == 700.0


@pytest.mark.thorough
def test_figures_of_a_stage_go_to_tensorboard_and_change_nothing(recipe, tmp_path):
    pytest.importorskip("tensorboardX")
    whole, logged = RecipeFolder(tmp_path / "whole"), RecipeFolder(tmp_path / "logged")
    run_recipe(recipe, whole)
    run_recipe(load_recipe(str(tmp_path / "recipe.toml"), ["pretrain.log_to=tensorboard"]), logged)
    assert list((logged.stage("pretrain") / "tensorboard").glob("events*"))
    assert not (logged.stage("more") / "tensorboard").exists()
    assert logged.lock.read_bytes() == whole.lock.read_bytes()


@pytest.mark.slow
def test_the_command_has_time_boxes(recipe, tmp_path):
    done = commands.run([*LAZARUS, "run", "recipe.toml", "-o", "r", "--for", "1s", "--json"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "time box: ends before 20" in done.stderr
    assert {each["name"] for each in json.loads(done.stdout)["stages"]} == set(STAGES)
    for words, problem in (
        (["--for", "soon"], "--for: 'soon' is not a duration"),
        (["--stop-at", "2020-01-01T00:00"], "--stop-at: '2020-01-01T00:00' is in the past"),
        (["--for", "1h", "--dry-run"], "--for has no effect with --dry-run"),
    ):
        wrong = commands.run([*LAZARUS, "run", "recipe.toml", "-o", "r", *words], cwd=tmp_path)
        assert (wrong.returncode, wrong.stdout) == (2, "")
        assert problem in wrong.stderr


def test_the_lines_of_a_box_name_the_options_of_the_command_and_no_time_below_zero(
    recipe, tmp_path, monkeypatch, capsys
):
    hands = Hands()
    box = TimeBox.start("5s", None, hands.clock())
    hands.now += 7  # the packages took longer to import

    def ended(*_, **__):
        raise TimeIsUp("the time box ended before a step: give a longer `run_for` or a later `stop_at`")

    monkeypatch.setattr(cli, "_time_box", lambda *_: box)
    monkeypatch.setattr("lazarus_cli.recipes.runner.run_recipe", ended)
    cli.run(str(tmp_path / "recipe.toml"), output=tmp_path / "r", run_for="5s")
    shown = capsys.readouterr().err
    assert "give a longer --for or a later --stop-at" in shown
    assert "in 0 s" in shown
