"""The suite itself: a fork of the server is a process like any other, and a thorough run leaves nothing out."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import commands
import suite

ENDINGS = {
    "done": "print('a'); print('b', file=sys.stderr)",
    "code": "sys.exit(3)",
    "words": "sys.exit('words')",
    "error": "print('a'); 1 / 0",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "interrupted": "signal.signal(signal.SIGINT, signal.default_int_handler); os.kill(os.getpid(), signal.SIGINT)",
    "terminated": "os.kill(os.getpid(), signal.SIGTERM)",
    "at the end": "import atexit; atexit.register(print, 'later'); print('now')",
    "a thread": "import threading, time; threading.Thread(target=lambda: (time.sleep(0.1), print('late'))).start()",
    "no reader": "os.close(1); print('lost')",
    "arguments": "print(sys.argv, sys.orig_argv[1:2], __name__, sys.stdin.read())",
}
RANDOM = "import random, numpy; print(random.random(), numpy.random.default_rng().random())"
LOGITS = """
import hashlib, threading
import numpy as np
import lazarus_models
from lazarus_models.backend import mx
from lazarus_tokenkit import load_tokenizer
lm = lazarus_models.init_model("tiny-test", load_tokenizer("byte"), seed=0)
found = lm.model(mx.array([list(b"the same bits in every process") * 20]))
print(hashlib.sha256(np.array(found).tobytes()).hexdigest())
"""

forks = pytest.mark.skipif(not commands.SURVIVES_FORK, reason="commands are not forked here")


def both(code: str, *words: str) -> list[subprocess.CompletedProcess[str]]:
    command = [sys.executable, "-c", f"import os, signal, sys\n{code}", *words]
    return [commands.Command(command, forks=is_fork).finish() for is_fork in (True, False)]


@forks
@pytest.mark.parametrize("how", ENDINGS)
def test_a_fork_ends_as_a_process_does(how: str):
    fork, process = both(ENDINGS[how], "a", "b\x1b\u202e")
    assert (fork.returncode, fork.stdout) == (process.returncode, process.stdout)
    assert fork.stderr.splitlines()[-1:] == process.stderr.splitlines()[-1:]  # before it, a traceback of other frames


@forks
def test_a_fork_computes_the_bits_of_a_process():
    fork, process = both(LOGITS)
    assert fork.stdout == process.stdout, fork.stderr
    assert len(fork.stdout) == 65


@forks
def test_forks_draw_other_numbers():
    assert both(RANDOM)[0].stdout != both(RANDOM)[0].stdout


@forks
def test_a_fork_has_the_folder_and_the_variables_of_the_test(tmp_path, monkeypatch):
    monkeypatch.setenv("LAZARUS_NAME", "now")
    code = "import os; print(os.getcwd(), os.environ['LAZARUS_NAME'], os.environ.get('MORE'))"
    command = [sys.executable, "-c", code]
    assert commands.Command(command, cwd=tmp_path, forks=True).finish().stdout == f"{tmp_path} now None\n"
    more = commands.Command(command, cwd=tmp_path, environment={"MORE": "1"}, forks=True)
    assert more.finish().stdout == f"{tmp_path} now 1\n"


@forks
def test_a_fork_is_killed_by_its_number_and_after_its_time():
    command = [sys.executable, "-c", "import time; print('on', flush=True); time.sleep(600)"]
    with commands.Command(command, forks=True) as first, commands.Command(command, forks=True) as second:
        assert first.pid != second.pid
        first.send_signal(signal.SIGKILL)
        assert first.finish().returncode == -signal.SIGKILL
        assert second.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            second.finish(0.01)
        assert second.poll() == -signal.SIGKILL


def test_a_thorough_run_takes_everything_and_forks_nothing(monkeypatch):
    every = list(range(10))
    monkeypatch.setenv(suite.PROFILE, "default")
    assert (list(suite.chosen(every)), list(suite.share(every, 4, 1))) == ([0, 5, 9], [1, 5, 9])
    assert (suite.examples(300), suite.examples(8), suite.repeats(100, 7)) == (75, 5, 7)
    monkeypatch.setenv(suite.PROFILE, "thorough")
    assert list(suite.chosen(every)) == list(suite.share(every, 4, 1)) == every
    assert (suite.examples(300), suite.examples(8), suite.repeats(100, 7)) == (300, 8, 100)
    assert not commands.can_fork()
    command = commands.Command([sys.executable, "-c", "pass"])
    assert isinstance(command._process, subprocess.Popen)
    assert command.finish().returncode == 0


def test_thinned_parameters_are_marked_and_none_is_lost():
    found = suite.thinned([("a", 1), ("b", 2), ("c", 3)], [("b", 2)])
    assert found[1] == ("b", 2)
    assert [(each.values, each.marks[0].name) for each in (found[0], found[2])] == [
        (("a", 1), "thorough"),
        (("c", 3), "thorough"),
    ]
    assert [isinstance(each, str) for each in suite.every_nth("abcd", 3)] == [True, False, False, True]
    with pytest.raises(AssertionError, match="each is one of all"):
        suite.thinned([1, 2], [3])


def test_commands_can_be_interrupted_where_the_tests_run_in_the_background(tmp_path: Path):
    """A shell that starts a command in the background lets it ignore Ctrl-C, and its children inherit that."""
    (tmp_path / "test_signal.py").write_text(
        "import signal\n\ndef test_it():\n    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
    )
    code = (
        "import signal, sys, pytest; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.exit(pytest.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "-q", "-p", "no:cacheprovider", "-n", "0", str(tmp_path)]
    done = commands.run(command, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "count"),
    [([], 3 + 7), (["-n", "2"], 3 + 7), (["tests"], 14), (["tests/test_it.py"], 14), (["--thorough"], 15)],
    ids=["everything", "in workers", "a folder", "a file", "thorough"],
)
def test_a_run_of_everything_takes_three_parameters(tmp_path: Path, words: list[str], count: int):
    """A folder or file that is named has all of them; thorough runs have those that are marked so, too."""
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n", "utf-8")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_it.py").write_text(
        "import pytest\nsevens = pytest.mark.parametrize('n', range(7))\n"
        "@sevens\ndef test_few(n): pass\n"
        "@sevens\n@pytest.mark.every_parameter\ndef test_all(n): pass\n"
        "@pytest.mark.thorough\ndef test_long(): pass\n",
        "utf-8",
    )
    environment = {name: value for name, value in os.environ.items() if name != suite.PROFILE}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and f"\n{count} passed" in done.stdout, done.stdout
