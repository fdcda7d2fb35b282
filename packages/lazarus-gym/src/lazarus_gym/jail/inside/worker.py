"""The worker: loads its targets, gives up its rights, then answers one request a line.

The first line of the input is the settings, each further one a request; every line of the output is a reply. All are JSON
objects. The worker ends with its input.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from .audit_hook import Guard
from .text_guard import unsafe_reason

MAX_ERROR_CHARS = 300
_PARENT_FIRST_S = 1.0
Target = Callable[..., Any]


def main() -> None:
    """Serves one parent."""
    requests, replies = _take_over_streams()
    settings = json.loads(requests.readline())
    folder = Path(settings["folder"])
    protections: dict[str, str | bool] = {"network": _leave_network()}
    try:
        sys.path[:0] = settings["path"]
        for module in settings["imports"]:
            importlib.import_module(module)
        targets = _load(settings["targets"])
    except BaseException as error:  # noqa: BLE001 # whatever an import of somebody else's module raises
        _write(replies, {"ready": False, "error": _words(error)})
        return
    guard = Guard(str(folder))
    protections |= _confine(folder, int(settings["memory_bytes"]))
    guard.install()
    _write(replies, {"ready": True, "protections": protections, "hash_seed": os.environ.get("PYTHONHASHSEED", "")})
    for line in requests:
        _write(replies, _answer(json.loads(line), targets, guard))


def _take_over_streams() -> tuple[BinaryIO, int]:
    """Keeps the pipes to the parent for the protocol; what a verifier prints goes nowhere."""
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    return os.fdopen(requests, "rb"), replies


def _leave_network() -> str:
    from .libc import leave_network

    return "namespace" if leave_network() else "python"


def _load(targets: Mapping[str, str]) -> dict[str, Target]:
    """The functions `module:function` by name."""
    found: dict[str, Target] = {}
    for name, place in targets.items():
        module, _, attribute = place.partition(":")
        value: Any = importlib.import_module(module)
        for part in attribute.split("."):
            value = getattr(value, part)
        if not callable(value):
            raise TypeError(f"`{place}` is no function")
        found[name] = value
    return found


def _confine(folder: Path, memory_bytes: int) -> dict[str, str | bool]:
    """Gives up what the operating system lets a process give up, and tells what that was."""
    from .libc import only_write_below
    from .limits import limit_files_and_processes, limit_memory

    os.chdir(folder)
    limit_files_and_processes()
    memory = limit_memory(memory_bytes)
    files = "landlock" if only_write_below(folder) else "python"
    is_filtered = False
    if sys.platform == "linux":
        from .seccomp import refuse_calls

        is_filtered = refuse_calls()
    for name in ("ctypes", "_ctypes"):
        sys.modules.pop(name, None)  # the guard refuses to import it again
    return {"memory": memory, "files": files, "processes": "seccomp" if is_filtered else "python"}


def _answer(request: Mapping[str, Any], targets: Mapping[str, Target], guard: Guard) -> dict[str, Any]:
    answer = request.get("answer")
    is_trusted = bool(request.get("trusts_text")) or (isinstance(answer, str) and unsafe_reason(answer) is None)
    guard.begin(trusts_text=is_trusted, marker=str(request.get("marker", "")))
    reply: dict[str, Any] = {"id": request["id"]}
    try:
        with _timers(float(request["cpu_s"]), float(request["wall_s"])):
            reply["value"] = targets[request["target"]](*request["args"])
        json.dumps(reply["value"], allow_nan=False)
    except BaseException as error:  # noqa: BLE001 # whatever a verifier raises, also SystemExit
        reply.pop("value", None)
        reply["error"] = _words(error)
    reply["attempts"], reply["executed"] = guard.attempts, guard.executed
    return reply


@contextlib.contextmanager
def _timers(cpu_s: float, wall_s: float) -> Generator[None]:
    """Ends the process by SIGPROF after a time of the processor, and by SIGALRM if the parent died and cannot.

    Args:
        cpu_s: Seconds of the processor.
        wall_s: Seconds by the clock after which the parent ends the process.
    """
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, wall_s + _PARENT_FIRST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _words(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"[:MAX_ERROR_CHARS]
    except Exception:  # noqa: BLE001 # an error that cannot be printed
        return type(error).__name__


def _write(pipe: int, reply: Mapping[str, Any]) -> None:
    line = memoryview(json.dumps(reply).encode() + b"\n")
    while line:
        line = line[os.write(pipe, line) :]
