"""How commands end: one line each, whatever stopped them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

APP = """
import os, signal, sys, time, typer
from lazarus_plan.errors import StalePlan
app = typer.Typer(rich_markup_mode=None)

def stop(number):
    os.kill(os.getpid(), number)
    time.sleep(9)

@app.command()
def act(how: str) -> None:
    if how == "ctrl-c": stop(signal.SIGINT)
    if how == "sigterm": stop(signal.SIGTERM)
    if how == "stale": raise StalePlan("moved", "LP-E140")
    if how == "refused": raise PermissionError(13, "Permission denied", "plan")
    if how == "own 3": raise typer.Exit(3)
    if how == "cleaned":
        try: stop(signal.SIGTERM)
        finally: print("cleaned")

if sys.argv[1] == "import": stop(signal.SIGINT)
"""


def end(tmp_path: Path, how: str) -> tuple[int, str, str]:
    (tmp_path / "slow_app.py").write_text(APP, "utf-8")
    # Whoever starts the tests in the background has Ctrl-C ignored, and so have we.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys; sys.argv[0] = 'act'; from lazarus_plan.console import run; run('slow_app:app', 'act')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, how], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False, timeout=30
    )
    return done.returncode, done.stdout, done.stderr


HALF = "files appear whole or not at all, and the same command starts again\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "code", "line"),
    [
        ("ctrl-c", 130, f"act: stopped by Ctrl-C; {HALF}"),
        ("import", 130, f"act: stopped by Ctrl-C; {HALF}"),
        ("sigterm", 143, f"act: stopped by SIGTERM; {HALF}"),
        ("stale", 1, "error: moved [LP-E140]\n"),
        ("refused", 2, "error: plan: Permission denied [act]\n"),
        ("own 3", 3, ""),
        ("--nope", 2, "error: No such option: --nope; see act --help [act]\n"),
        ("done", 0, ""),
    ],
)
def test_every_ending_is_one_line_and_its_code(tmp_path: Path, how: str, code: int, line: str):
    assert end(tmp_path, how) == (code, "", line)


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_closed_stream_is_no_reason_to_fail(closed: str):
    code = "from lazarus_plan.console import run, say, show; run(lambda **_: (show('result'), say('words')), 'act')"
    done = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, code], capture_output=True, encoding="utf-8", check=False
    )
    expected = ("", "words\n") if closed == ">&-" else ("result\n", "")
    assert (done.returncode, done.stdout, done.stderr) == (0, *expected)


def test_a_terminated_command_cleans_up(tmp_path: Path):
    code, out, _ = end(tmp_path, "cleaned")
    assert (code, out) == (143, "cleaned\n")


@pytest.mark.slow
def test_a_terminal_that_knows_ascii_only_shows_everything(folder: Path, tmp_path: Path):
    data = tmp_path / "r\u00e4ume.jsonl"
    data.write_text("".join(f'{{"question":"na\u00efve {n}?"}}\n' for n in range(20)), "utf-8")
    plan = folder.rename(tmp_path / "pl\u00e4ne")
    for arguments in (["explain", "--sample", "3", "-d", data], ["validate"], ["shard", "--world", "0"]):
        done = subprocess.run(
            [sys.executable, "-m", "lazarus_plan", arguments[0], "-p", plan, *arguments[1:]],
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
        )
        assert b"Traceback" not in done.stderr and done.returncode == (2 if arguments[0] == "shard" else 0)
        assert arguments[0] != "explain" or rb"na\xefve 3?" in done.stdout


def test_nothing_is_loaded_before_ctrl_c_is_understood():
    check = "import sys, lazarus_plan.__main__; print(*sorted({'typer', 'rich', 'numpy', 'importlib.metadata'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, encoding="utf-8")
    assert done.stdout == "\n"
