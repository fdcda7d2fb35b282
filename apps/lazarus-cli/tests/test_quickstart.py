import json
import re
import shlex
import subprocess
import sys

import pytest

import commands
import documents
from lazarus_cli import quickstart as module
from lazarus_train import RunResult


def quickstart(folder, cwd) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lazarus_cli", "quickstart", "-o", str(folder)]
    return commands.run(command, cwd=cwd)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One whole quickstart: its folder and what it printed."""
    cwd = tmp_path_factory.mktemp("quickstart")
    result = quickstart("quick start", cwd)  # a space: what is printed must be quoted
    assert result.returncode == 0, result.stderr
    return cwd, result.stdout


@pytest.mark.slow
@pytest.mark.thorough
def test_both_runs_and_the_answer_are_there(done):
    cwd, printed = done
    folder = cwd / "quick start"
    for run in ("run-straight", "run-resumed"):
        assert (folder / run / "final" / "model.safetensors").is_file()
    assert (folder / "run-resumed" / "audit.jsonl.rewound").is_file()  # it was killed beyond a checkpoint
    assert not (folder / "run-straight" / "audit.jsonl.rewound").exists()
    assert printed.splitlines()[-1].startswith("Done in ")


@pytest.mark.slow
@pytest.mark.thorough
def test_the_model_has_learnt_something(done):
    cwd, _ = done
    lines = [json.loads(line) for line in (cwd / "quick start/run-straight/metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.2 * lines[0]["loss"]


@pytest.mark.slow
@pytest.mark.thorough
def test_every_printed_command_does_what_it_says(done):
    """All but training again: into a second folder, with equal results."""
    cwd, printed = done
    printed_commands = [line.strip()[2:] for line in printed.splitlines() if line.strip().startswith("$ lazarus")]
    assert len(printed_commands) == 8
    again = [
        shlex.split(command.replace("quick start/", "again/")) for command in printed_commands if "train" not in command
    ]
    (cwd / "again").mkdir()
    for words in again[:-1]:
        commands.run([sys.executable, "-m", "lazarus_cli", *words[1:]], cwd=cwd, check=True)
    for name in (
        "samples.jsonl",
        "lengths.jsonl",
        "plan/plan.jsonl",
        "plan/fingerprints.json",
        "model/model.safetensors",
    ):
        assert (cwd / "again" / name).read_bytes() == (cwd / "quick start" / name).read_bytes(), name
    words = shlex.split(printed_commands[-1])
    asked = commands.run([sys.executable, "-m", "lazarus_cli", *words[1:]], cwd=cwd, check=True)
    assert asked.stdout.strip() in printed


def without_varying(text):
    """Lines without the folder's name, digests of weights and the step of the kill."""
    text = re.sub(r"'quick start(/[^']*)?'", r"quickstart\1", text)
    return re.sub(r"\b[0-9a-f]{16}\b", "DIGEST", re.sub(r"\bstep \d+", "step N", text)).splitlines()


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "apps/lazarus-cli/docs/getting-started.md"])
def test_the_pages_show_what_it_prints(done, page):
    _, printed = done
    blocks = documents.blocks((documents.ROOT / page).read_text("utf-8"))
    shown = next(block.text for block in blocks if block.text.startswith("$ lazarus quickstart\n"))
    lines = without_varying(shown)[1:]
    assert len(lines) > 8
    assert documents.agree([*lines, "..."], without_varying(printed))


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    result = quickstart("mine", tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "precious"


def run_on_a_gpu(folder, *, repeats, rows):
    """A finished run as its record describes it."""
    switches = {"MLX_CUDA_USE_CUDNN_SDPA": {"value": "0", "set_by": "lazarus"}}
    policy = {"fixed_order": repeats, "tf32": False, "switches": switches, "gpu": {"backend": "cuda"}}
    (folder / "final").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"policy": policy}))
    for name in ("final/model.safetensors", "audit.jsonl", "metrics.jsonl"):
        (folder / name).write_text(str(folder) if name.startswith("final") else "the same")
    return RunResult(folder / "final", 1, 1, "a" * 64, rows * 64)


def test_only_rows_are_compared_where_gradients_add_in_any_order(tmp_path, capsys):
    straight, resumed = (run_on_a_gpu(tmp_path / name, repeats=False, rows="b") for name in ("one", "two"))
    module._prove(straight, resumed, tmp_path)
    printed = capsys.readouterr().out
    assert f"rows       {'b' * 16} = {'b' * 16}" in printed
    assert "weights    not compared: gradients add in any order" in printed
    other = run_on_a_gpu(tmp_path / "three", repeats=False, rows="c")
    with pytest.raises(module.QuickstartFailed, match="rows differ"):
        module._prove(straight, other, tmp_path)
    fixed = [run_on_a_gpu(tmp_path / name, repeats=True, rows="b") for name in ("four", "five")]
    with pytest.raises(module.QuickstartFailed, match="weights differ"):
        module._prove(*fixed, tmp_path)


@pytest.mark.parametrize("fast", [False, True])
def test_the_killed_run_has_the_settings_of_the_straight_one(tmp_path, fast):
    words = shlex.split(module._command(module._config(tmp_path / "run", fast=fast)))
    assert ("--fast-nondeterministic" in words) is fast
