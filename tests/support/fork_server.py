"""`python fork_server.py FD`: imports all packages once, then forks for each command that the socket FD asks for.

A request is the length of a JSON object in 8 bytes, with three open files (stdout, stderr, a pipe for the exit code),
then the object: `words` after `python`, `cwd`, `environment`. The answer is the number of the process in 8 bytes. The
pipe gets the exit code as text when the process has ended. The server computes nothing itself: MLX and BLAS start
their threads in the forks.
"""

import atexit
import contextlib
import functools
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
import types
from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules, walk_packages
from typing import Any, NoReturn


def import_all() -> None:
    """Imports every module of the packages that are installed, but those that run a command."""
    packages = [module.name for module in iter_modules() if module.name.startswith("lazarus_")]
    packages.sort(key=lambda name: name != "lazarus_models")  # first: it chooses the BLAS before MLX is loaded
    for package in packages:
        found = walk_packages(import_module(package).__path__, f"{package}.", onerror=lambda name: None)
        for module in found:
            if not module.name.endswith("__main__"):
                with contextlib.suppress(ImportError):  # of an extra that is not installed
                    import_module(module.name)


def count_threads() -> int:
    """Threads of this process, those of libraries too where the system tells."""
    with contextlib.suppress(FileNotFoundError):
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208 # no Path objects needed
    return threading.active_count()


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Forks for each request. Returns None at the end of requests, and in a fork what it has to run."""
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests and for their commands
    wakeup, woken = os.pipe()
    for end in (wakeup, woken):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken)
    running: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        selector.register(wakeup, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj == wakeup:
                    os.read(wakeup, 4096)
                    report_ended(running)
                    continue
                length, files, _, _ = socket.recv_fds(requests, 8, 3)
                if not length:
                    return None
                request = json.loads(requests.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL))
                if pid := os.fork():
                    requests.sendall(pid.to_bytes(8, "big"))
                    running[pid] = files[2]
                    for file in files[:2]:
                        os.close(file)
                    continue
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, interrupt)
                os.dup2(files[0], 1)
                os.dup2(files[1], 2)
                for file in (*files, wakeup, woken, *running.values()):
                    os.close(file)
                requests.close()
                return request


def report_ended(running: dict[int, int]) -> None:
    """Writes the exit code of each fork that ended into its pipe."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
            os.write(running[pid], str(os.waitstatus_to_exitcode(status)).encode("ascii"))
        os.close(running.pop(pid))


def run(words: list[str], cwd: str, environment: dict[str, str]) -> None:
    """Runs `python WORDS...`; `-m MODULE` and `-c CODE` are understood."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    kind, what, *arguments = words
    sys.argv[:] = [kind, *arguments]
    sys.orig_argv[:] = [sys.executable, *words]
    sys.path[0] = cwd if kind == "-m" else ""
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        assert kind == "-c", kind
        main = types.ModuleType("__main__")
        sys.modules["__main__"] = main
        exec(compile(what, "<string>", "exec"), main.__dict__)


def end_with(work: Callable[[], None]) -> NoReturn:
    """Does the work of this process and ends it as Python does, but without clearing what the server imported."""
    code: object = 0
    try:
        work()
    except SystemExit as error:
        code = error.code
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001 # as Python itself does
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined] # waits for threads that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = 120
    os._exit(code or 0)


if __name__ == "__main__":
    import_all()
    assert count_threads() == 1, "a thread does not survive a fork"
    gc.freeze()
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    if request is not None:
        end_with(functools.partial(run, **request))
