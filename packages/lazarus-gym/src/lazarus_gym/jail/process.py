"""The process of a jail's worker: start, one line out and one line back within a time, end."""

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from lazarus_gym.errors import JailError
from lazarus_gym.jail.config import JailConfig
from lazarus_gym.jail.results import Protections

MAX_REPLY_BYTES = 16_000_000
"""A longer reply of a worker is refused."""
MAX_REQUEST_BYTES = 16_000_000
"""A longer call is refused."""
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from inside.worker import main; del sys.path[0]; main()"
_SANDBOX = (
    '(version 1)(allow default)(deny network*)(deny process-fork)(deny file-write*)(allow file-write* (subpath "{}"))'
)
"""Profile of `sandbox-exec`. It starts Python, so it cannot deny that; the guard does."""
_GRACE_S = 0.25
"""Time to wait for the exit code of a worker that closed its output."""


class WorkerBroken(Exception):
    """The worker cannot be used further; the text says why."""


class WorkerProcess:
    """A running worker with its folder.

    Args:
        targets: Functions by name.
        config: Limits.

    Raises:
        JailError: It cannot start (LG-E133).
    """

    def __init__(self, targets: Mapping[str, str], config: JailConfig) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lazarus-jail-"))
        self._pending = b""
        try:
            self.process = _spawn(config, self.folder)
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise JailError(
                f"{config.python} cannot be started ({error.strerror}): correct `python`", "LG-E133"
            ) from error
        self.owner = os.getpid()
        self._finalizer = weakref.finalize(self, _end_process, self.process, self.folder)
        self._selector = selectors.DefaultSelector()
        os.set_blocking(self._out, False)
        os.set_blocking(self._in, False)
        settings = {
            "targets": targets,
            "imports": config.imports,
            "path": [str(each.resolve()) for each in config.path],
            "folder": str(self.folder),
            "memory_bytes": config.memory_mb * 1_000_000,
        }
        try:
            hello = self.ask(encoded(settings), config.start_s)
            if hello.get("ready") is not True:
                raise WorkerBroken(str(hello.get("error", "no greeting"))[:500])
            means = cast("dict[str, str]", hello["protections"])
        except (WorkerBroken, KeyError, BaseException) as error:
            self.end()
            if not isinstance(error, WorkerBroken | KeyError):
                raise
            modules = ", ".join(dict.fromkeys(each.partition(":")[0] for each in targets.values()))
            raise JailError(
                f"the worker of {modules} cannot start ({error}): correct the modules, `python` or `path`",
                "LG-E133",
            ) from error
        has_sandbox = _sandbox() is not None
        self.protections = Protections(
            **{
                name: f"{value}, sandbox-exec" if has_sandbox and value == "python" else value
                for name, value in means.items()
            }
        )

    @property
    def _in(self) -> int:
        assert self.process.stdin is not None
        return self.process.stdin.fileno()

    @property
    def _out(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def ask(self, line: bytes, seconds: float) -> dict[str, Any]:
        """Sends a line and returns the object of the next line.

        Args:
            line: The line, with its end.
            seconds: Time for the reply.
        """
        deadline = time.monotonic() + seconds
        self._send(line, deadline, seconds)
        reply = self._receive(deadline, seconds)
        try:
            found = json.loads(reply)
        except (ValueError, RecursionError):
            raise WorkerBroken("the worker sent a line that is no JSON") from None
        if not isinstance(found, dict):
            raise WorkerBroken("the worker sent a line that is no object")
        return cast("dict[str, Any]", found)

    def _send(self, line: bytes, deadline: float, seconds: float) -> None:
        left = memoryview(line)
        while left:
            try:
                left = left[os.write(self._in, left) :]
            except BlockingIOError:
                self._wait(self._in, selectors.EVENT_WRITE, deadline, seconds)
            except OSError:
                raise WorkerBroken(self._how_it_ended()) from None

    def _receive(self, deadline: float, seconds: float) -> bytes:
        parts = [self._pending]
        size = len(self._pending)
        while b"\n" not in parts[-1]:
            self._wait(self._out, selectors.EVENT_READ, deadline, seconds)
            part = os.read(self._out, 1 << 16)
            if not part:
                raise WorkerBroken(self._how_it_ended())
            parts.append(part)
            size += len(part)
            if size > MAX_REPLY_BYTES:
                raise WorkerBroken(f"the reply is longer than {MAX_REPLY_BYTES:,} bytes")
        line, _, self._pending = b"".join(parts).partition(b"\n")
        if self._pending:
            raise WorkerBroken("the worker sent more than one reply")
        return line

    def _wait(self, file: int, event: int, deadline: float, seconds: float) -> None:
        self._selector.register(file, event)
        try:
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                raise WorkerBroken(f"no reply within {seconds:g} s")
        finally:
            self._selector.unregister(file)

    def _how_it_ended(self) -> str:
        try:
            code = self.process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            return "the worker closed its output"
        if code == -signal.SIGPROF:
            return "more time of the processor than `cpu_s` allows"
        if code < 0:
            return f"the worker was ended by {_signal_name(-code)}"
        return f"the worker ended with code {code}"

    def end(self) -> None:
        """Ends the process and removes its folder."""
        self._selector.close()
        self._finalizer()

    def disown(self) -> None:
        """Leaves the process to another owner."""
        self._finalizer.detach()
        self.process.returncode = 0  # so that no code waits for a process that is no child of this one


def _end_process(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    shutil.rmtree(folder, ignore_errors=True)


def _spawn(config: JailConfig, folder: Path) -> "subprocess.Popen[bytes]":
    here = str(Path(__file__).parent)
    sandbox = _sandbox()
    words = ["sandbox-exec", "-p", sandbox.format(folder.resolve())] if sandbox is not None else []
    return subprocess.Popen(
        [*words, str(config.python), "-s", "-P", "-B", "-c", _BOOT, here],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        cwd=folder,
        env=_environment(config, folder),
        start_new_session=True,  # Ctrl-C of the terminal goes to the parent alone
    )


def _sandbox() -> str | None:
    return _SANDBOX if sys.platform == "darwin" and shutil.which("sandbox-exec") else None


def _environment(config: JailConfig, folder: Path) -> dict[str, str]:
    """A small environment: no keys or tokens of the parent."""
    kept = {
        name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "VIRTUAL_ENV") if name in os.environ
    }
    threads = dict.fromkeys(
        ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
    )
    own = {"PYTHONHASHSEED": str(config.hash_seed), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
    return kept | threads | own | {name: str(folder) for name in ("HOME", "TMPDIR", "MPLCONFIGDIR")}


def encoded(request: Mapping[str, Any]) -> bytes:
    """A request as a line.

    Raises:
        JailError: It is not JSON, or too long (LG-E134).
    """
    try:
        line = json.dumps(request, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise JailError(
            f"an argument is not JSON ({error}): pass numbers, texts, lists and dictionaries", "LG-E134"
        ) from None
    if len(line) > MAX_REQUEST_BYTES:
        raise JailError(f"the arguments take {len(line):,} bytes; pass at most {MAX_REQUEST_BYTES:,}", "LG-E134")
    return line


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
