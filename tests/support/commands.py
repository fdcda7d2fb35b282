"""Runs Python command lines of the tests: in the default run as forks of one process that has imported the packages.

Importing MLX, the models and the tokenizers takes a second; a fork takes some milliseconds. A fork is a process of its
own: it has its own streams, folder, environment, signals, exit code and end of the interpreter. It shares with its
siblings the seed of string hashes and what was imported. In a thorough run, on macOS, with a GPU of NVIDIA and with
`environment`, a command gets a Python of its own.
"""

import atexit
import dataclasses
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Self

import suite

SURVIVES_FORK = sys.platform != "darwin" and not Path("/dev/nvidiactl").exists()
"""Neither macOS's frameworks nor the driver of a GPU work in a fork."""
AT_START = dict(os.environ)
"""The variables of the server: those before any test changed some."""
SERVER = Path(__file__).with_name("fork_server.py")
RUN_SCRIPT = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
"""Code that runs the file of its first argument with the others, as `python FILE ...`."""
LIMIT_S = 300.0
"""A command of a test that takes longer is killed."""


def can_fork() -> bool:
    """Whether commands are forked in this run."""
    return not suite.is_thorough() and SURVIVES_FORK


class Command:
    """A running command. Its output goes into files, so nothing waits for a reader."""

    def __init__(
        self,
        words: Sequence[object],
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        forks: bool | None = None,
        merged: bool = False,
    ) -> None:
        """Starts it.

        Args:
            words: `[sys.executable, "-m", MODULE, ...]` or `[sys.executable, "-c", CODE, ...]`.
            cwd: Its current folder; None for that of the tests.
            environment: Variables set for it alone. They may matter when packages are imported, so it is not forked
                unless `forks` says so.
            forks: Whether it is a fork of the server; None for the rule of the suite.
            merged: Whether stderr goes where stdout goes, as on a terminal.
        """
        self.words = [str(word) for word in words]
        assert self.words[0] == sys.executable, "a Python command"
        self.returncode: int | None = None
        self._out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 # closed by `finish`
        self._err: IO[bytes] = self._out if merged else tempfile.TemporaryFile()  # noqa: SIM115
        if can_fork() if forks is None and not environment else forks:
            self._process: _Fork | subprocess.Popen[bytes] = _server().start(
                self.words[1:], str(cwd or Path.cwd()), environment or {}, self._out.fileno(), self._err.fileno()
            )
        else:
            self._process = subprocess.Popen(
                self.words,
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=self._out,
                stderr=self._err,
            )
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        self.returncode = self._process.poll()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        self._process.send_signal(number)

    def finish(self, timeout: float = LIMIT_S) -> subprocess.CompletedProcess[str]:
        """Waits for its end.

        Raises:
            subprocess.TimeoutExpired: It took longer than `timeout` seconds, and was killed.
        """
        try:
            self.returncode = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.send_signal(signal.SIGKILL)
            self._process.wait(LIMIT_S)
            raise
        texts: list[str] = []
        for stream in (self._out, self._err):
            if stream.closed:  # merged
                texts.append("")
                continue
            stream.seek(0)
            texts.append(stream.read().decode("utf-8").replace("\r\n", "\n"))
            stream.close()
        return subprocess.CompletedProcess(self.words, self.returncode, *texts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Kills what still runs."""
        if not self._out.closed:
            if self.poll() is None:
                self.send_signal(signal.SIGKILL)
            self.finish()


def run(
    words: Sequence[object],
    *,
    check: bool = False,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = LIMIT_S,
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end and returns its exit code and what it wrote.

    Args:
        words: As for `Command`.
        check: Whether an exit code other than 0 is an error.
        cwd: Its current folder; None for that of the tests.
        environment: Variables set for it alone.
        timeout: Seconds after which it is killed.
    """
    done = Command(words, cwd=cwd, environment=environment).finish(timeout)
    assert not check or done.returncode == 0, f"exit code {done.returncode}\n{done.stderr}"
    return done


@dataclasses.dataclass
class _Fork:
    """A child of the server; the server reports its exit code by a pipe."""

    pid: int
    _status: int
    returncode: int | None = None

    def poll(self) -> int | None:
        return self._read(0)

    def wait(self, timeout: float) -> int:
        code = self._read(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("fork", timeout)
        return code

    def _read(self, timeout: float) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            content = os.read(self._status, 16)
            os.close(self._status)
            assert content, "the fork server ended"
            self.returncode = int(content)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:  # its number is not another's before its end was reported
            os.kill(self.pid, number)


class _Server:
    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(SERVER), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=AT_START,
                cwd=SERVER.parent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def start(self, words: list[str], cwd: str, environment: Mapping[str, str], out: int, err: int) -> _Fork:
        """Starts `python WORDS...` with this process's environment and some more."""
        request = {"words": words, "cwd": cwd, "environment": {**os.environ, **environment}}
        content = json.dumps(request).encode("ascii")
        status, reported = os.pipe()
        try:
            socket.send_fds(self._socket, [len(content).to_bytes(8, "big")], [out, err, reported])
            self._socket.sendall(content)
        finally:
            os.close(reported)
        pid = int.from_bytes(self._socket.recv(8, socket.MSG_WAITALL), "big")
        assert pid, f"the fork server ended with {self._process.poll()}"
        return _Fork(pid, status)

    def close(self) -> None:
        """Ends the server by the end of its input."""
        self._socket.close()
        self._process.wait(LIMIT_S)


@functools.cache
def _server() -> _Server:
    server = _Server()
    atexit.register(server.close)
    return server


def wait_until(command: Command, condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Waits until a condition holds or the command has ended."""
    end = time.monotonic() + seconds
    while command.poll() is None and not condition():
        assert time.monotonic() < end, f"nothing came of {command.words} in {seconds} s"
        time.sleep(0.001)
