"""`--quiet` of commands of each package: results and errors stay, information and progress do not."""

import sys
from pathlib import Path

import pytest

import commands
from lazarus_gym import generate_tasks, write_samples

COMMANDS = [
    (
        "lazarus_cli",
        ["data", "batchplan", "build", "-l", "lengths.jsonl", "-b", "64", "--predictable", "--force", "-o", "plan"],
    ),
    ("lazarus_tokenkit", ["vocab", "-t", "byte", "--limit", "3"]),
    ("lazarus_tokenkit", ["lengths", "build", "-d", "rows.jsonl", "-t", "byte", "--force", "-o", "lengths.jsonl"]),
    ("lazarus_tokenkit", ["samples", "prepare", "rows.jsonl", "--force", "-o", "prepared.jsonl"]),
    ("lazarus_models", ["cache", "list"]),
    ("lazarus_models", ["new", "--preset", "nano", "-t", "byte", "-o", "model"]),
    ("lazarus_gym", ["generate", "-n", "3", "--force", "-o", "tasks.jsonl"]),
    ("lazarus_cli", ["data", "batching", "analyze", "-l", "lengths.jsonl", "-b", "64", "--bucket-edges", "8"]),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_samples(generate_tasks(5, seed=1), tmp_path / "rows.jsonl")
    (tmp_path / "lengths.jsonl").write_text('{"id":"a","length":9}\n{"id":"b","length":5}\n')
    return tmp_path


@pytest.mark.parametrize(("module", "words"), COMMANDS, ids=[" ".join(words[:3]) for _, words in COMMANDS])
def test_a_quiet_command_prints_its_result_alone(module: str, words: list[str], folder: Path):
    quiet = commands.run([sys.executable, "-m", module, *words, "-q"], cwd=folder)
    if words[0] == "new":
        words = [*words[:-1], "other"]
    loud = commands.run([sys.executable, "-m", module, *words], cwd=folder)
    assert (quiet.returncode, loud.returncode) == (0, 0), quiet.stderr + loud.stderr
    assert quiet.stdout.replace("model", "other") == loud.stdout.replace("model", "other")
    assert len(quiet.stderr.splitlines()) == (1 if "--bucket-edges" in words else 0)  # a warning that an edge was added
    assert len(loud.stderr.splitlines()) >= 1


@pytest.mark.parametrize(
    "module", ["lazarus_cli", "lazarus_tokenkit", "lazarus_models", "lazarus_train", "lazarus_gym"]
)
def test_a_quiet_error_is_an_error(module: str, folder: Path):
    words = {
        "lazarus_cli": ["data", "batchplan", "info", "-p", "none"],
        "lazarus_tokenkit": ["lengths", "stats", "-l", "none"],
        "lazarus_models": ["info", "-m", "./none"],
        "lazarus_train": ["checkpoints", "none"],
        "lazarus_gym": ["verify", "-d", "none", "--replies", "none"],
    }
    done = commands.run([sys.executable, "-m", module, *words[module], "--quiet"], cwd=folder)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert done.stderr.startswith("error: ")
