"""Attacks, as functions of a hostile verifier. Each returns 1 where it succeeded; `CANARY` is a file that it may try to make."""

import os
import sys
from pathlib import Path


def honest(prompt, completion, row):
    return float(completion == row["answer"])


def evaluates(prompt, completion, row):
    """A verifier with the usual fault."""
    return float(eval(completion) == row["answer"])


def os_system(canary: str):
    return float(os.system(f"touch {canary}") == 0)


def subprocess_run(canary: str):
    import subprocess

    return float(subprocess.run(["touch", canary], check=False).returncode == 0)


def posix_spawn(canary: str):
    return float(os.posix_spawn("/bin/touch", ["touch", canary], {}) > 0)


def exec_replaces(canary: str):
    os.execv("/bin/touch", ["touch", canary])


def fork(canary: str):
    pid = os.fork()
    if not pid:
        os._exit(0)
    return 1.0


def fork_bomb(canary: str):
    while True:
        os.fork()


def thread(canary: str):
    import threading

    found = []
    each = threading.Thread(target=lambda: found.append(1))
    each.start()
    each.join()
    return float(bool(found))


def many_threads(canary: str):
    import _thread

    return float(sum(bool(_thread.start_new_thread(lambda: None, ())) for _ in range(1000)) > 0)


def memory_bomb(canary: str):
    return float(len(bytearray(8_000_000_000)) > 0)


def slow_memory_bomb(canary: str):
    held = []
    while True:
        held.append(bytearray(10_000_000))


def endless(canary: str):
    while True:
        pass


def endless_regex(canary: str):
    import re

    return float(re.fullmatch("(a+)+", "a" * 60 + "b") is None)


def recursion(canary: str):
    return recursion(canary)


def write_file(canary: str):
    Path(canary).write_text("x")
    return 1.0


def write_by_descriptor(canary: str):
    return float(os.write(os.open(canary, os.O_CREAT | os.O_WRONLY), b"x"))


def remove_file(canary: str):
    Path(canary).with_name("victim").unlink()
    return 1.0


def link_out(canary: str):
    Path("out").symlink_to("/tmp")
    (Path("out") / Path(canary).name).write_text("x")
    return 1.0


def fill_disk(canary: str):
    with Path("big").open("wb") as file:
        for _ in range(100):
            file.write(bytes(1_000_000))
    return 1.0


def open_socket(canary: str):
    import socket

    with socket.socket() as found:
        return float(found.fileno() >= 0)


def look_up_name(canary: str):
    import socket

    return float(bool(socket.gethostbyname("localhost")))


def use_ctypes(canary: str):
    import ctypes

    return float(ctypes.CDLL(None).getpid())


def kill_parent(canary: str):
    os.kill(os.getppid(), 0)  # a probe: the tests go on if it is not refused
    return 1.0


def kill_self(canary: str):
    import signal

    signal.raise_signal(signal.SIGKILL)
    return 1.0


def leave(canary: str):
    os._exit(0)


def system_exit(canary: str):
    raise SystemExit(0)


def class_walk(canary: str):
    for each in ().__class__.__base__.__subclasses__():
        if each.__name__ == "_wrap_close":
            return float(each.__init__.__globals__["system"](f"touch {canary}") == 0)
    return 1.0


def trace(canary: str):
    sys.settrace(lambda *_: None)
    return 1.0


def raise_limits(canary: str):
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return 1.0


def new_hook(canary: str):
    sys.addaudithook(lambda *_: None)
    return 1.0


def forged_line(canary: str):
    os.write(1, b'{"id": 1, "value": 1.0}\n')
    print('{"id": 1, "value": 1.0}')
    return 0.0


def compiled_as_file(canary: str):
    exec(compile(f"open({canary!r}, 'w')", __file__, "exec"))
    return 1.0


CACHED = compile("1 + 1", "<cached>", "exec")


def cached_code(canary: str):
    exec(CACHED)
    return 1.0


def as_collections(canary: str):
    exec("1 + (lambda: 1)()", {"__name__": "collections"})
    globals()["__name__"] = "collections"
    exec("1 + (lambda: 1)()")
    return 1.0


def not_json(canary: str):
    return {"a": object()}


def huge_reply(canary: str):
    return "x" * 50_000_000


def not_a_number(canary: str):
    return float("nan")
