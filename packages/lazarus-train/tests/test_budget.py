"""What a run will take: published numbers, numbers by hand, and runs that were measured."""

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import commands
from lazarus_models.composition import PRESETS, preset
from lazarus_plan import load_plan
from lazarus_train import OptimizerSettings, train
from lazarus_train.engine.resources.memory import StepShape
from lazarus_train.errors import SetupError
from lazarus_train.run_dir.layout import RunFolder
from lazarus_train.tune.budget import (
    Budget,
    Length,
    Speed,
    chinchilla_tokens,
    disk_of,
    length_of_plan,
    memory_of,
    read_count,
)
from lazarus_train.tune.shapes import count_parameters, shape_of
from lazarus_train.tune.speed import speed_of_run
from suite import examples

ADAMW = OptimizerSettings()
MIB = 2**20


@pytest.mark.parametrize(
    ("asked", "name", "parameters", "tokens"),
    [  # training.md, law 18 and F9: 20 tokens a parameter
        ("9.44M", "micro", 9_438_336, 188_766_720),
        ("23M", "tiny", 23_072_000, 461_440_000),
        ("41.7M", "small", 41_686_656, 833_733_120),
        ("84M", "medium", 83_898_880, 1_677_977_600),
    ],
)
def test_the_presets_have_their_published_parameters_and_tokens(asked, name, parameters, tokens):
    found, config = shape_of(read_count(asked, "params"), 32768)
    assert found == f"preset {name}"
    assert count_parameters(config) == parameters
    assert chinchilla_tokens(parameters) == tokens


@pytest.mark.parametrize("asked", [6e6, 120e6, 355e6, 1.3e9, 7e9, 70e9])
def test_another_number_of_parameters_is_a_llama_of_about_that_size(asked):
    _, config = shape_of(int(asked), 32768)
    assert config.num_attention_heads * 64 == config.hidden_size
    assert count_parameters(config) == pytest.approx(asked, rel=0.06)
    assert asked < 1e8 or 16 <= config.hidden_size / config.num_hidden_layers <= 256


@settings(max_examples=examples(60))
@given(st.integers(1, 10**12), st.integers(1, 300_000))
def test_a_shape_is_near_what_was_asked_or_refused_in_one_line(parameters, vocab_size):
    try:
        _, config = shape_of(parameters, vocab_size)
    except SetupError as error:
        assert error.code == "LR-E282"
        assert "give another `params` or `vocab_size`" in error.message
    else:
        assert config.vocab_size == vocab_size
        if config.hidden_size <= 1024 and config.num_hidden_layers <= 32:  # others take seconds to count
            assert count_parameters(config) == pytest.approx(parameters, rel=0.06)


@given(st.integers(1, 10**13), st.integers(1, 10**7))
def test_the_steps_are_the_fewest_that_hold_the_tokens(tokens, tokens_per_step):
    steps = Length.of(tokens, tokens_per_step).steps
    assert (steps - 1) * tokens_per_step < tokens <= steps * tokens_per_step


@pytest.mark.parametrize(
    "text", ["", "M", "23 M", "-5M", "23MB", "0", "0.4", "1e19", "1e99", "nan", "inf", "٣M", "9" * 500, "1e5e5"]
)
def test_other_numbers_are_refused(text):
    with pytest.raises(
        SetupError, match=r"^`tokens` .* is not a number from 1 to 1e18: give one such as 23M"
    ) as caught:
        read_count(text, "tokens")
    assert caught.value.code == "LR-E285"


def budget_of(**more):
    config = preset("micro", vocab_size=32768)
    length = Length.of(188_766_720, 8192, 30_000_000)
    shape = StepShape(rows=16, row_len=512)
    given = {
        "shape": "preset micro",
        "parameters": 9_438_336,
        "length": length,
        "row_len": 512,
        "speed": Speed(5000.0, "as given"),
        "memory": memory_of(config, shape, ADAMW),
        "memory_limit": 24 * 2**30,
        "disk": disk_of(9_438_336, length, 3, ADAMW, is_fresh=True),
        **more,
    }
    return Budget(**given)


def test_a_budget_by_hand():
    found = budget_of().as_json()
    assert found["steps"] == 23_043  # 188,766,720 / 8,192 = 23,042.8
    assert found["epochs"] == 6.2922
    assert found["tokens_per_parameter"] == 20.0
    assert found["flops"] == 10_689_862_373_867_520  # 6 x 9,438,336 x 188,766,720
    assert found["seconds"] == 37_753.3  # 188,766,720 / 5,000
    assert found["memory"]["weights"] == 4 * 9_438_336
    assert found["memory"]["moments"] == 8 * 9_438_336
    assert found["disk"]["checkpoint"] == 12 * 9_438_336  # weights and two moments in float32
    assert found["disk"]["total"] == (3 * 12 + 2 * 4) * 9_438_336 + 440 * 23_043
    assert found["disk"]["most"] - found["disk"]["total"] == 12 * 9_438_336
    assert any(note.startswith("6.3 epochs: beyond 4") for note in found["notes"])
    lines = "\n".join(budget_of().lines())
    assert "10 h 29 min of steps" in lines
    assert "144,000,000 tokens, 17,578 steps" in lines  # 5,000 x 28,800


def test_notes_name_too_few_tokens_and_too_little_memory():
    few = budget_of(length=Length.of(9_438_336, 8192, None), memory_limit=100 * MIB)
    assert few.as_json()["epochs"] is None
    assert not few.fits
    assert [note.split(":")[0] for note in few.notes()] == [
        "1.0 tokens a parameter",
        "the run needs more than 90% of the 100 MiB that a process of this machine may take",
    ]


@pytest.mark.parametrize(("name", "moments"), [("adamw", 2.0), ("lion", 1.0), ("sgd", 1.0), ("muon", 1.5)])
def test_moments_of_other_optimizers_take_less(name, moments):
    chosen = OptimizerSettings.model_validate({"name": name})
    disk = disk_of(1000, Length.of(10, 10), 1, chosen, is_fresh=False)
    assert disk.checkpoint == 4000 * (1 + moments)
    assert memory_of(preset("nano", vocab_size=300), StepShape(2, 32), chosen).moments == pytest.approx(
        4 * count_parameters(preset("nano", vocab_size=300)) * moments, abs=1
    )


def test_a_plan_gives_tokens_steps_and_rows(setup):
    plan = load_plan(setup.plan)
    length, row_len = length_of_plan(setup.plan, None)
    assert (length.steps, length.tokens_per_step, row_len) == (len(plan), 64, 32)
    assert length.tokens == sum(plan.step(number).tokens for number in range(len(plan)))
    assert length.epochs == pytest.approx(2.0)
    assert length_of_plan(setup.plan, 10 * length.tokens)[0].epochs == pytest.approx(0.1)


def test_the_disk_of_a_run_is_as_estimated(setup):
    train(setup.config(save_every=1, keep_checkpoints=2, eval_data={"held-out": setup.data}, eval_every=4))
    run, length = RunFolder(setup.folder / "run"), length_of_plan(setup.plan, None)[0]
    config = preset("nano", vocab_size=300).model_copy(update={"num_hidden_layers": 1})
    estimated = disk_of(count_parameters(config), length, 3, ADAMW, is_fresh=False)
    sizes = [sum(file.stat().st_size for file in each.glob("*.safetensors")) for each in run.checkpoints.glob("step-*")]
    assert 2 <= len(sizes) <= 3
    assert sizes == pytest.approx([estimated.checkpoint] * len(sizes), rel=0.05)
    assert sum(file.stat().st_size for file in run.final.glob("*.safetensors")) == pytest.approx(
        estimated.model, rel=0.05
    )
    logs = [run.metrics, run.throughput, run.audit]
    assert sum(file.stat().st_size for file in logs) == pytest.approx(estimated.logs, rel=1.0), (
        "checkpoints are bound at every step"
    )


def test_the_speed_of_a_run_is_the_median_of_its_newest_steps(setup):
    train(setup.config(max_steps=3))
    lines = [{"step": step, "seconds": 1.0, "tokens_per_s": float(step)} for step in range(1, 202)]
    path = setup.folder / "run/throughput.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert speed_of_run(setup.folder / "run").tokens_per_s == 151.5  # of 102 to 201
    path.write_text("")
    with pytest.raises(SetupError, match=r"throughput\.jsonl has no speed of a step: give `measured`"):
        speed_of_run(setup.folder / "run")
    with pytest.raises(SetupError, match="give the folder of a run"):
        speed_of_run(setup.model)


def plan_budget(*words):
    return commands.run([sys.executable, "-m", "lazarus_train", "plan-budget", *map(str, words)])


def test_the_command_prints_what_was_computed(setup):
    train(setup.config(max_steps=3))
    run = setup.folder / "run"
    done = plan_budget("--model", setup.model, "--plan", setup.plan, "--run", run, "--json")
    assert done.returncode == 0, done.stderr
    found, speed = json.loads(done.stdout), speed_of_run(run).tokens_per_s
    length, row_len = length_of_plan(setup.plan, None)
    assert (found["tokens"], found["steps"], found["row_len"]) == (length.tokens, length.steps, row_len)
    assert found["seconds"] == pytest.approx(length.tokens / speed, rel=0.01, abs=0.1)
    assert found["speed_source"] == f"median of 3 steps of {run}"
    assert found["memory"]["fits"] is True
    words = plan_budget("--preset", "micro", "--tokens", "200M", "-b", 16384, "--measured", 5200)
    assert words.stdout.splitlines()[0] == "model       preset micro: 9,438,336 parameters"
    assert "12,208 of 16,384 tokens, in rows of 512" in words.stdout
    words = plan_budget("--preset", "micro", "--tokens", "1M", "-b", 1000, "--row-len", 512, "--measured", 5200)
    assert "1,954 of 512 tokens, in rows of 512" in words.stdout, "a step has whole rows"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--measured", "10"), "give one of --params, --preset, --model"),
        (("--params", "1M", "--preset", "nano"), "give one of --params, --preset, --model"),
        (("--params", "x"), "--params 'x' is not a number"),
        (("--params", "23M", "--plan", "p", "--tokens", "1M"), "--tokens has no effect with --plan"),
        (("--params", "23M", "--tokens", "1M", "--tokens-per-parameter", "3"), "give one of --tokens and"),
        (("--model", "m", "--vocab-size", "3"), "--vocab-size has no effect with --model"),
        (("--params", "23M", "--measured", "5", "--run", "r"), "give one of --measured and --run"),
        (("--preset", "nano", "-b", "64", "--row-len", "128"), "--row-len 128 is above -b 64"),
        (("--preset", "huge"), "no preset 'huge'"),
        (("--params", "5000"), "no shape with a vocabulary of 32,768"),
        (("--params", "23M", "--run", "nowhere"), "nowhere does not exist"),
        (("--params", "23M", "--plan", "nowhere"), "nowhere"),
    ],
)
def test_contradictions_are_refused_in_one_line(words, problem):
    done = plan_budget(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.thorough
def test_without_a_speed_some_steps_are_measured_here(setup):
    done = plan_budget("--model", setup.model, "--tokens", "10k", "-b", 256, "--row-len", 64, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["tokens_per_s"] > 100
    assert found["speed_source"] == "measured here: 3 steps of 4 x 64 tokens"
    assert "measuring training steps of 4 x 64 tokens" in done.stderr


PEAK = """
import sys
from pathlib import Path
from lazarus_train.__main__ import main
sys.argv = ["lazarus-train", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
status = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_and_time_of_a_real_run_are_near_the_estimate(tmp_path):
    text = tmp_path / "text.jsonl"
    text.write_text("".join(json.dumps({"text": f"{number} " * 500}) + "\n" for number in range(40)))
    shape = ["--preset", "micro", "--vocab-size", "8192"]
    run = [
        "pretrain",
        *shape,
        "-t",
        "byte",
        "--data",
        text,
        "--build-plan",
        "-b",
        4096,
        "--row-len",
        512,
        "--oversize",
        "split",
    ]
    words = [*run, "--max-steps", 6, "-o", tmp_path / "run"]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, words)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    peak = int(done.stdout.splitlines()[-1])
    found = json.loads(plan_budget(*shape, "--tokens", "24576", "-b", 4096, "--row-len", 512, "--json").stdout)
    assert found["steps"] == 6
    assert peak / 1.5 < found["memory"]["total"] < peak * 1.5
    seconds = [json.loads(line)["seconds"] for line in (tmp_path / "run/throughput.jsonl").read_text().splitlines()]
    assert math.log(found["seconds"] / sum(seconds)) == pytest.approx(0, abs=math.log(3)), "a shared machine"


def test_every_preset_is_its_own_shape_at_the_usual_vocabulary():
    for name in PRESETS:
        parameters = count_parameters(preset(name, vocab_size=32768))
        assert shape_of(parameters, 32768)[0] == f"preset {name}"
