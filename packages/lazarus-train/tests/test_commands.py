"""Each training command, in this process: its own options, plans of its own, and one line for what cannot be."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lazarus_core.console import progress_bar
from lazarus_core.errors import LazarusError
from lazarus_models.kernel_cache import KernelCache
from lazarus_plan import load_plan
from lazarus_train.build_plan import suggest_budget
from lazarus_train.cli.app import app
from lazarus_train.errors import SetupError

PAIRS = [{"prompt": f"What is {a}?", "chosen": f"{a}.", "rejected": f"{a + 1}, say I."} for a in range(9)]
CLASSES = [{"prompt": f"Is {a} more than 4?", "completion": "yes" if a > 4 else "no"} for a in range(9)]
TEXTS = [{"text": f"{a} and {a} make {a + a}."} for a in range(9)]
NUMBERS = [{"prompt": f"Twice {a}?", "completion": str(a + a)} for a in range(9)]


def call(setup, command, *options):
    """Runs a command; expected failures come back as what they say."""
    arguments = [command, "--model", setup.model, "--data", setup.data, "-o", setup.folder / "run", *options]
    result = CliRunner().invoke(app, [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit | LazarusError):
        raise result.exception
    return result


def metrics(setup):
    return [json.loads(line) for line in (setup.folder / "run" / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "rows", "options", "told"),
    [
        ("pretrain", TEXTS, [], "loss_tokens"),
        ("pretrain", TEXTS, ["--objective", "diffusion", "--mask-id", 299, "--truncated-share", 0.5], "loss_tokens"),
        ("pretrain", TEXTS, ["--objective", "diffusion", "--mask-id", 299, "--causal-share", 0.5], "diffusion_loss"),
        ("pretrain", TEXTS, ["--objective", "mntp", "--mask-id", 299, "--mask-share", 0.3], "loss_tokens"),
        ("sft", CLASSES, ["--optimizer", "muon", "--schedule", "wsd", "--ema", 0.9, "--beta2", 0.95], "loss_tokens"),
        ("sft", CLASSES, ["--use-lora", "--lora-kind", "dora", "--lora-targets", "q_proj,v_proj"], "loss_tokens"),
        ("sft", CLASSES, ["--neftune-alpha", 5, "--gradient-checkpointing", "--freeze", "*embed*"], "loss_tokens"),
        ("sft", CLASSES, ["--objective", "diffusion", "--mask-id", 299], "loss_tokens"),
        ("dpo", PAIRS, [], "reward_accuracy"),
        ("dpo", PAIRS, ["--loss", "simpo", "--beta", 2, "--margin", 0.5], "reward_margin"),
        ("dpo", PAIRS, ["--use-lora", "--reference", "adapters-off"], "reward_margin"),
        ("reward", PAIRS, ["--center", 0.01], "reward_accuracy"),
        ("classify", CLASSES, ["--classes", "no,yes"], "accuracy"),
        ("classify", NUMBERS, ["--numbers"], "absolute_error"),
    ],
)
def test_a_command_plans_trains_and_says_where_the_model_is(setup, command, rows, options, told):
    setup.write_rows(rows)
    result = call(setup, command, "--build-plan", "--predictable", "-b", 128, "-e", 4, "--max-steps", 2, *options)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(setup.folder / "run" / "final")
    lines = metrics(setup)
    assert len(lines) == 2
    assert told in lines[0]
    assert (
        load_plan(setup.folder / "run" / "batch_plan").plan_id
        == json.loads((setup.folder / "run" / "config.json").read_text())["plan_id"]
    )


@pytest.mark.slow
def test_a_trained_diffusion_model_answers_to_a_total_length(setup):
    from lazarus_models.cli.app import app as models_app

    setup.write_rows(TEXTS)
    options = ["--objective", "diffusion", "--mask-id", 299]
    result = call(setup, "pretrain", "--build-plan", "--predictable", "-b", 128, "-e", 4, "--max-steps", 2, *options)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("next: ")]
    _, *words = shlex.split(line.removeprefix("next: "))
    asked = CliRunner().invoke(models_app, [*words, "--raw", "--json"])
    assert asked.exit_code == 0, asked.output
    found = json.loads(asked.stdout)
    assert 299 not in found["ids"]
    assert found["prompt_tokens"] + len(found["ids"]) == 64 or found["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        ("sft", [], "give a plan with --batch-plan, or build one with --build-plan"),
        ("sft", ["--batch-plan", "plan", "--epochs", 2], "--epochs needs --build-plan"),
        ("sft", ["--build-plan", "-b", 64, "--optimizer", "sgd", "--muon-learning-rate", 0.1], "has no effect"),
        ("sft", ["--build-plan", "-b", 64, "--rate-factors", "*embed*"], "has no ="),
        ("sft", ["--build-plan", "-b", 64, "--rate-factors", "*embed*=-1"], "--rate-factors: must be"),
        ("sft", ["--build-plan", "-b", 0], "--token-budget: must be above 0"),
        ("sft", ["--build-plan", "-b", 64, "--row-len", 128], "--row-len 128 is above --token-budget 64"),
        ("sft", ["--build-plan", "-b", 64, "--weights", 3, "--mode", "padded"], "--weights of"),
        ("sft", ["--batch-plan", "plan", "--predictable"], "--predictable needs --build-plan"),
        (
            "pretrain",
            ["--build-plan", "-b", 64, "--objective", "mntp", "--mask-id", 3, "--sample-prompt", "a"],
            "--sample-prompt needs a model that generates text; --objective mntp trains none",
        ),
        ("sft", ["--build-plan", "-b", 64, "--optimizer", "sgd", "--beta2", 0.95], "--beta2 has no effect"),
        ("sft", ["--build-plan", "-b", 64, "--beta1", 1.0], "--beta1: must be below 1"),
        ("sft", ["--build-plan", "-b", 64, "--patience", 3], "--patience needs --eval-data"),
        ("pretrain", ["--build-plan", "-b", 64, "--objective", "diffusion"], "--objective diffusion needs --mask-id"),
        ("pretrain", ["--build-plan", "-b", 64, "--mask-id", 3], "--mask-id has no effect with --objective causal"),
        ("dpo", ["--build-plan", "-b", 64, "--reference", "adapters-off"], "--reference adapters-off needs --use-lora"),
        (
            "dpo",
            ["--build-plan", "-b", 64, "--likelihood", "prompt-and-answer"],
            "--likelihood has no effect with --loss dpo",
        ),
        (
            "dpo",
            ["--build-plan", "-b", 64, "--desirable-weight", 2],
            "--desirable-weight has no effect with --loss dpo",
        ),
        ("classify", ["--build-plan", "-b", 64, "--numbers", "--classes", "a,b"], "--classes has no effect"),
    ],
)
def test_options_that_do_not_go_together_are_refused(setup, command, options, words):
    result = call(setup, command, *options)
    assert result.exit_code == 2
    assert words in " ".join(result.output.replace("│", " ").split())
    assert not (setup.folder / "run").exists()


@pytest.mark.slow
def test_a_run_that_planned_for_itself_goes_on_with_the_plan_it_drew(setup):
    options = ["--build-plan", "-b", 64, "--epochs", 2, "--save-every", 1]
    assert call(setup, "sft", *options, "--max-steps", 2).exit_code == 0
    drawn = load_plan(setup.folder / "run" / "batch_plan")
    assert drawn.metadata.config.seed > 0
    assert call(setup, "sft", *options, "--max-steps", 4).exit_code == 0
    assert load_plan(setup.folder / "run" / "batch_plan").plan_id == drawn.plan_id
    assert [line["step"] for line in metrics(setup)] == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_run_does_not_go_on_with_another_plan_unless_it_starts_again(setup):
    options = ["--build-plan", "--predictable", "-b", 64, "--max-steps", 2]
    assert call(setup, "sft", *options).exit_code == 0
    other = call(setup, "sft", *options, "--epochs", 3)
    assert isinstance(other.exception, SetupError)
    assert "follows plan" in str(other.exception)
    assert call(setup, "sft", *options, "--epochs", 3, "--resume", "none").exit_code == 0


def test_a_plan_that_no_run_follows_stays_too_unless_it_is_given_up(setup):
    shutil.copytree(setup.plan, setup.folder / "run" / "batch_plan")
    theirs = load_plan(setup.plan).plan_id
    options = ["--build-plan", "--predictable", "-b", 96, "--max-steps", 1]
    refused = call(setup, "sft", *options)
    assert "run has plan" in str(refused.exception)
    assert load_plan(setup.folder / "run" / "batch_plan").plan_id == theirs
    assert call(setup, "sft", *options, "--resume", "none").exit_code == 0
    assert load_plan(setup.folder / "run" / "batch_plan").plan_id != theirs


def test_a_prompt_that_the_model_cannot_read_is_refused_before_the_first_step(setup):
    refused = call(setup, "sft", "--batch-plan", setup.plan, "--max-steps", 1, "--sample-prompt", "why? " * 2000)
    assert "--sample-prompt 'why? why? " in str(refused.exception)
    assert "the model's context is" in str(refused.exception)
    assert not (setup.folder / "run" / "metrics.jsonl").exists()


def test_a_plan_of_its_own_takes_nobody_elses_place(setup):
    from lazarus_train.run_dir.layout import RunFolder

    options = ["--build-plan", "--predictable", "--max-steps", 1]
    assert call(setup, "sft", *options, "-b", 128).exit_code == 0
    plan = setup.folder / "run" / "batch_plan"
    before = load_plan(plan).plan_id
    with RunFolder(setup.folder / "run").held():
        refused = call(setup, "sft", *options, "-b", 256, "--resume", "none")
    assert isinstance(refused.exception, SetupError)
    assert "another process trains in" in refused.exception.message
    assert load_plan(plan).plan_id == before
    refused = call(setup, "sft", *options, "-b", 128, "-o", setup.model)
    assert isinstance(refused.exception, SetupError)
    assert "which no run wrote" in refused.exception.message
    assert not (setup.model / "batch_plan").exists()


def test_a_model_of_its_own_takes_nobody_elses_place(setup):
    from lazarus_train.init_model import FreshModel, make_model
    from lazarus_train.run_dir.layout import RunFolder

    run = setup.folder / "run"
    make_model(FreshModel("nano", "byte", None, seed=0), run, resume="auto")
    before = (run / "initial" / "source.json").read_bytes()
    with RunFolder(run).held(), pytest.raises(SetupError, match="another process trains in"):
        make_model(FreshModel("nano", "byte", None, seed=1), run, resume="none")
    assert (run / "initial" / "source.json").read_bytes() == before


def in_folder(setup, *options):
    words = ["sft", "--model", setup.model, "--data", setup.data, "--build-plan", "--predictable", *options]
    return CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)


@pytest.mark.slow
def test_without_a_folder_and_a_budget_both_are_chosen_and_named(setup, monkeypatch):
    setup.write_rows(CLASSES)
    monkeypatch.chdir(setup.folder)
    made = [in_folder(setup), in_folder(setup)]
    folders = [Path(each.stdout.strip()).parent for each in made]
    assert len(set(folders)) == 2
    for each, folder in zip(made, folders, strict=True):
        assert re.fullmatch(r"checkpoints/sft-\d{4}-\d\d-\d\d-\d{6}(-\d+)?", folder.as_posix())
        assert f"no -o: the folder of this run is {folder}; give it as -o to resume the run\n" in each.stderr
        budget = load_plan(folder / "batch_plan").metadata.config.token_budget
        assert f"no -b: the plan has {budget:,} tokens a step" in each.stderr
    again = in_folder(setup, "-o", folders[0])
    assert again.stdout == made[0].stdout
    assert "no step is left to do" in again.stderr and "trained:" not in again.stderr


@pytest.mark.slow
def test_without_a_terminal_lines_and_a_last_line_tell_loss_speed_and_time(setup, monkeypatch):
    setup.write_rows(CLASSES)
    monkeypatch.setattr(progress_bar, "LINE_EVERY_S", 0.0)
    kernels = KernelCache(setup.folder / "kernels")  # as on a GPU that has compiled nothing yet
    monkeypatch.setattr("lazarus_models.backend.KERNELS", kernels)
    done = in_folder(setup, "-o", setup.folder / "run", "-b", 64)
    assert f"{kernels.first_run}\n" in done.stderr
    rows = metrics(setup)
    steps = len(rows)
    told = re.findall(r"(?m)^training: (\d+)/(\d+) steps(.*), loss ([\d.]+), (.*), [\d.]+ epochs", done.stderr)
    assert [(done, of, loss) for done, of, _, loss, _ in told] == [
        (str(row["step"]), str(steps), f"{row['loss']:.3f}") for row in rows
    ]
    assert [left for _, _, left, _, _ in told[:2]] == ["", ""]  # no estimate before the third step
    assert all(re.fullmatch(r", \d+ s left", left) for _, _, left, _, _ in told[2:])
    assert told[0][4] == "warm-up" and all(re.fullmatch(r"[\d,]+ tokens/s", each[4]) for each in told[1:])
    line = next(line for line in done.stderr.splitlines() if line.startswith("trained: "))
    first, last = rows[0], rows[-1]
    assert line.startswith(
        f"trained: loss {first['loss']:.3f} at step {first['step']}, {last['loss']:.3f} at step {last['step']}; "
    )
    assert re.search(r"; [\d,]+ tokens/s, \d+ s$", line)


@given(st.lists(st.integers(1, 9000), min_size=1, max_size=200), st.none() | st.integers(1, 9000))
def test_a_suggested_budget_is_whole_rows_and_leaves_steps(length: list[int], row_len: int | None):
    budget = suggest_budget(np.array(length), row_len)
    row = row_len or -(-max(length) // 64) * 64
    assert budget % row == 0
    assert budget == row or (budget <= 8192 and sum(length) >= 50 * budget)


def test_one_of_several_processes_needs_a_folder(setup, monkeypatch):
    monkeypatch.setenv("MLX_RANK", "0")
    done = CliRunner().invoke(app, ["sft", "--model", "m", "--data", "d", "--build-plan"])
    assert "Missing option '-o'" in done.output
