"""How commands end: one line each, whatever stopped them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import commands

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
        "import sys; sys.argv[0] = 'act'; from lazarus_core.console import run; run('slow_app:app', 'act')"
    )
    done = commands.run([sys.executable, "-c", code, how], cwd=tmp_path, timeout=30)
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
        ("refused", 2, "error: plan: permission denied: change its permissions, or choose another path [LP-E221]\n"),
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
    code = "from lazarus_core.console import run, say, show; run(lambda **_: (show('result'), say('words')), 'act')"
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


EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\u202e\r"

PRINTS = """
import logging, sys, typer
from lazarus_core import console
from lazarus_plan.errors import PlanError
from lazarus_plan.findings import Finding
evil = sys.argv.pop()
how = sys.argv[1]

def act(how: str) -> None:
    match how:
        case "error": raise PlanError(f"{evil}: id {evil!r}\\n{evil}", "LP-E000")
        case "system": raise FileNotFoundError(2, evil, evil)
        case "usage": raise typer.BadParameter(f"{evil}\\n{evil}")
        case "words": console.say(f"{evil}\\n{evil}")
        case "result": console.show(evil)
        case "result of one line": console.show_line(f"{evil}\\n{evil}")
        case "piece": console.write(evil)
        case "log": logging.getLogger("x").warning("%s\\n%s", evil, evil)
        case "memory": raise MemoryError(evil)
        case "progress":
            console.progress_bar.LINE_EVERY_S = 0
            with console.progress(evil, total=None, unit="rows") as advance: advance(1, note=evil)
        case "github" | "sarif":
            from pathlib import Path
            from lazarus_plan.report import formats
            findings = [Finding("LP-E100", f"{evil}\\n::error::{evil}")]
            console.show(getattr(formats, f"as_{how}")(Path(f"a\\n::error::{evil}"), findings, True))
        case "page":
            from html import escape
            from lazarus_core.html.document import page
            console.show(page(evil, escape(evil), "lazarus-plan"))

app = typer.Typer(rich_markup_mode=None)
app.command()(act)
console.run(app, "act")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        *("error", "system", "usage", "words", "result", "result of one line", "piece", "log", "memory", "progress"),
        *("github", "sarif", "page"),
    ],
)
def test_control_characters_are_shown_in_every_kind_of_message(how: str):
    done = commands.run([sys.executable, "-c", PRINTS, how, EVIL], timeout=60)
    said = done.stdout + done.stderr
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & {*said} and "u001b" in said
    if how not in ("result", "piece", "sarif", "page"):
        assert said.count("\n") == 1, said


@pytest.mark.slow
@pytest.mark.parametrize("how", ["small", "large", "help", "no"])
def test_a_reader_that_left_is_141_and_no_verdict(how: str):
    code = (
        "import sys, typer\nfrom lazarus_core.console import run, show\n"
        "app = typer.Typer(rich_markup_mode=None)\n@app.command()\n"
        f"def act():\n    show('x' * {10**6 if how == 'large' else 1})\n    raise typer.Exit({int(how == 'no')})\n"
        "run(app, 'act')"
    )
    words = ["--help"] if how == "help" else []
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        words_said = process.stderr.read()
    assert (process.returncode, words_said) == (141, "")


@pytest.mark.slow
def test_a_full_disk_behind_stdout_is_2():
    code = "from lazarus_core.console import run, show; run(lambda **_: show('result'), 'act')"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        b"error: stdout: no space left on the device: delete something, or choose another path [LP-E221]\n",
    )


REFUSALS = {
    "memory": ("raise MemoryError('no room')", "[LP-E222]"),
    "thread": ('raise RuntimeError("can\'t start new thread")', "not enough memory, threads or disk"),
    "library": ("raise ImportError('x.so: failed to map segment from shared object')", "to load a library"),
    "name": ('\'{"a": "x\\udcff.jsonl"}\'.encode()', r"a name is not UTF-8: `x\xff.jsonl`"),
    "missing": ("open('none')", "error: none does not exist: correct the path [LP-E220]"),
    "folder": (
        "import os; os.mkdir('d'); os.chdir('d'); os.rmdir('../d'); os.getcwd()",
        "directory does not exist any",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", REFUSALS)
def test_what_the_machine_refuses_is_one_line_and_2(tmp_path: Path, how: str):
    act, words = REFUSALS[how]
    code = f"from lazarus_core.console import run\ndef act(**_):\n    {act}\nrun(act, 'act')"
    done = commands.run([sys.executable, "-c", code], cwd=tmp_path)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.slow
def test_a_bug_is_still_a_traceback():
    code = "from lazarus_core.console import run\ndef act(**_):\n    raise RuntimeError('ours')\nrun(act, 'act')"
    done = commands.run([sys.executable, "-c", code])
    assert done.returncode == 1 and "Traceback" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_ends_a_command_but_not_under_nohup(ignored: bool):
    code = (
        f"import os, signal; signal.signal(signal.SIGHUP, signal.{'SIG_IGN' if ignored else 'SIG_DFL'})\n"
        "from lazarus_core.console import run, show\n"
        "def act(**_):\n    os.kill(os.getpid(), signal.SIGHUP)\n    show('went on')\nrun(act, 'act')"
    )
    done = commands.run([sys.executable, "-c", code])
    assert (done.returncode, done.stdout) == ((0, "went on\n") if ignored else (129, ""))
