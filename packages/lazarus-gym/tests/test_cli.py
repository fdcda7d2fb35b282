"""The command, as a process."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lazarus_gym import generate_tasks, read_tasks
from lazarus_gym.__main__ import main


def gym(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    """Runs the command in this process and returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["lazarus-gym", *args])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_generate_writes_what_the_library_makes_and_names_the_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "my maths.jsonl"
    args = ("--type", "math", "-n", "12", "--seed", "7", "--kinds", "addition,comparison", "--digits", "3")
    assert gym(monkeypatch, "generate", *args, "-o", str(path)) == 0
    assert read_tasks(path) == generate_tasks(12, seed=7, kinds=["addition", "comparison"], digits=3)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"next: lazarus-tokenkit lengths build -d '{path}' -t byte" in printed.err


def test_an_existing_file_is_replaced_only_by_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "maths.jsonl"
    path.write_text("mine")
    assert gym(monkeypatch, "generate", "-n", "1", "-o", str(path)) == 2
    assert path.read_text() == "mine"
    assert "--force" in capsys.readouterr().err
    assert gym(monkeypatch, "generate", "-n", "1", "-o", str(path), "--force") == 0
    assert len(read_tasks(path)) == 1


GENERATE = ["generate", "-o", "maths.jsonl"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([*GENERATE, "--type", "chess"], "unknown type 'chess'"),
        ([*GENERATE, "--kinds", "addition,division"], "unknown kind 'division'"),
        ([*GENERATE, "-n", "99999"], "lower `count`"),
        ([*GENERATE, "--digits", "0"], "choose 1 to 7"),
        (["run", "--port", "9"], "--port has no effect without --host"),
        (["run", "--openenv", "ws://127.0.0.1:1", "--transport", "tcp"], "--transport has no effect without --host"),
        (["info", "--port", "9"], "--port has no effect without --host"),
        (["export", "math", "--to", "trl", "--level", "easy", "-o", "x.py"], "--level has no effect on questions"),
        (["export", "sudoku", "--to", "trl", "--digits", "2", "-o", "x.py"], "--digits has no effect on a game"),
        (["export", "chess", "--to", "trl", "--level", "hard", "-o", "x.py"], "called 'chess'"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    says: str,
):
    monkeypatch.chdir(tmp_path)
    assert gym(monkeypatch, *args) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "command", [("prompts", "maths", "-n", "1"), ("run", "--puzzles", "lights_out", "-n", "1")], ids=["prompts", "run"]
)
def test_the_next_command_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
):
    path = tmp_path / "my file"
    assert gym(monkeypatch, *command, "-o", str(path)) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("next: ")]
    words = shlex.split(line)
    assert [word for word in words if word.startswith(str(path))], "one word"


def test_verify_scores_replies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    tasks, replies = tmp_path / "tasks.jsonl", tmp_path / "replies.jsonl"
    assert gym(monkeypatch, "generate", "-n", "10", "-o", str(tasks)) == 0
    answered = [{"id": task.id, "reply": task.reply if i else "?"} for i, task in enumerate(generate_tasks(10))]
    replies.write_text("".join(json.dumps(line) + "\n" for line in answered))
    capsys.readouterr()
    assert gym(monkeypatch, "verify", "-d", str(tasks), "--replies", str(replies), "--json") == 0
    scores = json.loads(capsys.readouterr().out)
    assert (scores["all"]["correct"], scores["all"]["n"], scores["addition"]["accuracy"]) == (9, 10, 0.5)
    assert gym(monkeypatch, "verify", "-d", str(tasks), "--replies", str(replies)) == 0
    assert "all                    9      10     90.0%   59.6% to 98.2%" in capsys.readouterr().out


def test_help_loads_only_what_it_shows():
    heavy = "{'numpy', 'pydantic', 'rich', 'mlx', 'hashlib'} & set(sys.modules)"
    code = f"import sys; sys.argv[1:] = ['--help']\nfrom lazarus_gym.__main__ import main\ntry: main()\nfinally: assert not {heavy}, {heavy}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "generate" in done.stdout
