"""A long-lived worker process that runs functions which are not ours, one call at a time.

A call costs about 0.1 ms once the worker is warm. A worker that dies, hangs or breaks the protocol is killed; its call is
aborted and the next call starts another one. The worker has no network, starts no process and writes only into a temporary
folder; `Jail.protections` tells by which means.

The jail confines code that a verifier runs by mistake, such as a model's answer. Functions in one jail share a process,
so a function that is hostile itself can forge its own verdicts, but reach nothing else.
"""

import asyncio
import contextlib
import itertools
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from lazarus_gym.errors import JailError
from lazarus_gym.jail.config import JailConfig
from lazarus_gym.jail.results import JailResult, Protections

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
"""Time that a worker has to end by itself when its input is closed."""


class _Broken(Exception):
    """The worker cannot be used further; the text says why."""


class Jail:
    """A worker for some functions.

    >>> with Jail({"length": "builtins:len"}) as jail:
    ...     jail.call("length", "abc").value, jail.call("length", 3).status
    (3, 'aborted')

    Args:
        targets: Functions by name, each `module:function`. The worker imports them before it is confined.
        config: Limits; None for the defaults.
    """

    def __init__(self, targets: Mapping[str, str], config: JailConfig | None = None) -> None:
        self.config = config or JailConfig()
        self._targets = dict(targets)
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._ids = itertools.count(1)
        self.starts = 0
        """Workers that were started so far."""

    def __enter__(self) -> "Jail":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> "Jail":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    @property
    def protections(self) -> Protections:
        """The means of confinement on this machine; starts the worker if there is none.

        Raises:
            JailError: See `call`.
        """
        with self._lock:
            return self._started().protections

    @property
    def process_id(self) -> int | None:
        """Process of the worker, or None while there is none."""
        return self._worker.process.pid if self._worker is not None else None

    def call(
        self, target: str, *args: Any, answer: str | None = None, marker: str = "", trusts_text: bool = False
    ) -> JailResult:
        """Calls a function in the worker.

        Args:
            target: Its name.
            args: Arguments of JSON: numbers, texts, booleans, None, lists, dictionaries.
            answer: Text of a model among the arguments. The function may evaluate it, changed or not, if it holds literals
                and bounded arithmetic only; executing any other text is refused.
            marker: A word; executed code that holds it is listed in the result.
            trusts_text: Whether the function may execute any text, for functions that get no text of a model.

        Raises:
            JailError: The worker cannot start (LG-E133) or the call cannot be sent (LG-E134).
        """
        if target not in self._targets:
            raise JailError(f"no target {target!r} in this jail; there are {', '.join(self._targets)}", "LG-E134")
        request: dict[str, Any] = {"target": target, "args": args, "cpu_s": self.config.cpu_s, "answer": answer}
        request |= {"marker": marker, "trusts_text": trusts_text}
        with self._lock:
            request["id"] = next(self._ids)
            line = _encoded(request)
            worker = self._started()
            try:
                return _result(worker.ask(line, self.config.wall_s), request["id"])
            except _Broken as error:
                self._end_worker()
                return JailResult("aborted", reason=str(error))
            except BaseException:  # Ctrl-C: the next reply would belong to this call
                self._end_worker()
                raise

    async def call_async(
        self, target: str, *args: Any, answer: str | None = None, marker: str = "", trusts_text: bool = False
    ) -> JailResult:
        """`call` for asyncio; calls of several tasks wait for each other.

        Args:
            target: See `call`.
            args: See `call`.
            answer: See `call`.
            marker: See `call`.
            trusts_text: See `call`.
        """
        return await asyncio.to_thread(self.call, target, *args, answer=answer, marker=marker, trusts_text=trusts_text)

    def close(self) -> None:
        """Ends the worker. A later call starts another one."""
        with self._lock:
            self._end_worker()

    def _started(self) -> "_Worker":
        if self._worker is None:
            self._worker = _Worker(self._targets, self.config)
            self.starts += 1
        return self._worker

    def _end_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()


class _Worker:
    """A running worker with its folder."""

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
            hello = self.ask(_encoded(settings), config.start_s)
            if hello.get("ready") is not True:
                raise _Broken(str(hello.get("error", "no greeting"))[:500])
            means = cast("dict[str, str]", hello["protections"])
        except (_Broken, KeyError, BaseException) as error:
            self.end()
            if not isinstance(error, _Broken | KeyError):
                raise
            raise JailError(
                f"the worker of {', '.join(targets.values())} cannot start ({error}): correct the modules, `python` or `path`",
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
            raise _Broken("the worker sent a line that is no JSON") from None
        if not isinstance(found, dict):
            raise _Broken("the worker sent a line that is no object")
        return cast("dict[str, Any]", found)

    def _send(self, line: bytes, deadline: float, seconds: float) -> None:
        left = memoryview(line)
        while left:
            try:
                left = left[os.write(self._in, left) :]
            except BlockingIOError:
                self._wait(self._in, selectors.EVENT_WRITE, deadline, seconds)
            except OSError:
                raise _Broken(self._how_it_ended()) from None

    def _receive(self, deadline: float, seconds: float) -> bytes:
        parts = [self._pending]
        size = len(self._pending)
        while b"\n" not in parts[-1]:
            self._wait(self._out, selectors.EVENT_READ, deadline, seconds)
            part = os.read(self._out, 1 << 16)
            if not part:
                raise _Broken(self._how_it_ended())
            parts.append(part)
            size += len(part)
            if size > MAX_REPLY_BYTES:
                raise _Broken(f"the reply is longer than {MAX_REPLY_BYTES:,} bytes")
        line, _, self._pending = b"".join(parts).partition(b"\n")
        if self._pending:
            raise _Broken("the worker sent more than one reply")
        return line

    def _wait(self, file: int, event: int, deadline: float, seconds: float) -> None:
        self._selector.register(file, event)
        try:
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                raise _Broken(f"no reply within {seconds:g} s")
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
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._selector.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        shutil.rmtree(self.folder, ignore_errors=True)


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


def _encoded(request: Mapping[str, Any]) -> bytes:
    try:
        line = json.dumps(request, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise JailError(
            f"an argument is not JSON ({error}): pass numbers, texts, lists and dictionaries", "LG-E134"
        ) from None
    if len(line) > MAX_REQUEST_BYTES:
        raise JailError(f"the arguments take {len(line):,} bytes; pass at most {MAX_REQUEST_BYTES:,}", "LG-E134")
    return line


def _result(reply: Mapping[str, Any], number: int) -> JailResult:
    if reply.get("id") != number:
        raise _Broken("the worker replied to another call")
    attempts, executed = _texts(reply.get("attempts")), _texts(reply.get("executed"))
    error = reply.get("error")
    if attempts:
        return JailResult("aborted", None, f"it tried {attempts[0]}", attempts, executed)
    if isinstance(error, str) or "value" not in reply:
        return JailResult("aborted", None, str(error), attempts, executed, is_crash=True)
    return JailResult("ok", reply["value"], "", attempts, executed)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(each) for each in cast("Sequence[object]", value)) if isinstance(value, list) else ()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
