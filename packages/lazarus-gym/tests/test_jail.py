"""The jail: what is refused, what is aborted, and that the next verdict is right."""

import ast
import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lazarus_gym.errors import JailError
from lazarus_gym.jail import Jail, JailConfig
from suite import thinned

HERE = Path(__file__).parent
ENDLESS = ["endless", "endless_regex", "fork_bomb"]
HARMLESS = ["forged_line"]
"""These return 0 and reach nothing, so they are not aborted."""
ATTACKS = [
    node.name
    for node in ast.parse((HERE / "jail_attacks.py").read_text("utf-8")).body
    if isinstance(node, ast.FunctionDef) and node.name not in ("honest", "evaluates")
]


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    targets = {name: f"jail_attacks:{name}" for name in (*ATTACKS, "honest", "evaluates")}
    with Jail(targets, JailConfig(wall_s=5.0, cpu_s=0.4, memory_mb=200, path=(HERE,))) as found:
        yield found


def honest(jail: Jail) -> None:
    assert jail.call("honest", "", "4", {"answer": "4"}).value == 1.0
    assert jail.call("honest", "", "5", {"answer": "4"}).value == 0.0


def test_there_are_more_than_twenty_attacks():
    assert len(ATTACKS) > 30


@pytest.mark.parametrize(
    "name", thinned(ATTACKS, [each for each in ATTACKS if each not in ("fork_bomb", "endless_regex")])
)
def test_an_attack_reaches_nothing_and_the_next_verdict_is_right(jail: Jail, tmp_path: Path, name: str):
    canary, victim = tmp_path / "canary", tmp_path / "victim"
    victim.touch()
    found = jail.call(name, str(canary))
    time.sleep(0.01 if name in ("os_system", "subprocess_run", "posix_spawn", "class_walk") else 0)
    assert not canary.exists()
    assert victim.exists()
    assert not (Path("/tmp") / "canary").exists()
    if name in HARMLESS:
        assert (found.status, found.value) == ("ok", 0.0)
    else:
        assert found.status == "aborted", found
        assert found.value is None
        assert found.reason
        assert "\n" not in found.reason
    honest(jail)


def test_the_reasons_name_the_action(jail: Jail, tmp_path: Path):
    file = str(tmp_path / "x")
    assert jail.call("write_file", file).attempts == (f"open {file} w",)
    assert jail.call("os_system", file).reason.startswith("it tried os.system")
    assert jail.call("memory_bomb", file).reason.startswith("MemoryError")
    assert jail.call("cached_code", file).reason.startswith("it tried exec")
    assert jail.call("leave", file).reason == "the worker ended with code 0"
    assert jail.call("recursion", file).is_crash


ESCAPES = [
    "__import__('os').system('touch {}')",
    "open('{}', 'w')",
    "[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close'][0].__init__.__globals__['system']('touch {}')",
    "(lambda: open('{}', 'w'))()",
    "__builtins__['open']('{}', 'w')",
    'exec(\'open("{}", "w")\')',
    "eval(\"open('{}', 'w')\")",
    "print('{}') or 4",
    "globals()",
    "4 if open('{}', 'w') else 4",
    "f'{{open(chr(120))}}'",
    "().__class__",
    "9**9**9**9",
    "'a' * 10**11",
    "[0] * 10**11",
    "(1).__class__.__mro__[1].__subclasses__()",
    "help",
    "breakpoint()",
    "input()",
    "4 .real",
    "\uff45val('4')",
    "(" * 3000 + "4" + ")" * 3000,
    "-" * 3000 + "4",
]


@pytest.mark.parametrize("text", ESCAPES, ids=range(len(ESCAPES)))
def test_text_of_a_model_is_not_executed(jail: Jail, tmp_path: Path, text: str):
    canary = tmp_path / "canary"
    answer = text.format(canary) if "{}" in text else text
    found = jail.call("evaluates", "", answer, {"answer": 4}, answer=answer)
    assert (found.status, found.value) == ("aborted", None), found
    assert not canary.exists()


def test_libraries_that_make_code_of_their_own_work():
    with Jail(
        {"namedtuple": "collections:namedtuple", "replaced": "jail_attacks:as_collections"}, JailConfig(path=(HERE,))
    ) as jail:
        found = jail.call("namedtuple", "Point", ["x", "y"])
        assert not found.attempts  # the class itself is no JSON
        assert found.reason.startswith("TypeError")
        assert jail.call("replaced", "").reason.startswith("it tried exec")


@pytest.mark.parametrize("text", ["4", "2 + 2", "2**2", "16 ** 0.5", "-(-4)"])
def test_arithmetic_is_evaluated(jail: Jail, text: str):
    assert jail.call("evaluates", "", text, {"answer": 4}, answer=text).value == 1.0


def test_a_killed_worker_is_replaced(jail: Jail):
    honest(jail)
    starts, process = jail.starts, jail.process_id
    assert process is not None
    threading.Timer(0.2, os.kill, (process, signal.SIGKILL)).start()
    found = jail.call("endless", "")
    assert (found.status, found.reason) == ("aborted", "the worker was ended by SIGKILL")
    honest(jail)
    assert jail.starts == starts + 1
    os.kill(jail.process_id or 0, signal.SIGKILL)  # between two calls
    time.sleep(0.05)
    assert jail.call("honest", "", "4", {"answer": "4"}).status == "aborted"
    honest(jail)


def test_time_by_the_clock_is_bounded():
    with Jail({"sleep": "time:sleep"}, JailConfig(wall_s=0.2)) as jail:
        start = time.monotonic()
        assert jail.call("sleep", 30).reason == "no reply within 0.2 s"
        assert time.monotonic() - start < 2


def test_time_of_the_processor_is_bounded():
    config = JailConfig(wall_s=60, cpu_s=0.2, path=(HERE,))
    with Jail({"endless": "jail_attacks:endless"}, config) as jail:
        assert jail.call("endless", "").reason == "more time of the processor than `cpu_s` allows"


def test_the_hash_seed_is_fixed_and_chosen():
    code = "import sys; print(hash('lazarus'))"
    expected = [
        int(subprocess.check_output([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}))
        for seed in "07"
    ]
    found: list[int] = []
    for seed in (0, 7):
        with Jail({"hash": "builtins:hash"}, JailConfig(hash_seed=seed)) as jail:
            found.append(jail.call("hash", "lazarus").value)
    assert found == expected
    assert found[0] != found[1]


def test_the_environment_of_the_parent_stays_outside(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    with Jail({"get": "os:getenv"}) as jail:
        assert jail.call("get", "SECRET_TOKEN").value is None


def test_asyncio_calls_share_the_worker(jail: Jail):
    async def calls() -> list[float]:
        found = await asyncio.gather(*(jail.call_async("honest", "", str(n % 2), {"answer": "1"}) for n in range(20)))
        return [each.value for each in found]

    assert asyncio.run(calls()) == [float(n % 2) for n in range(20)]


def test_calls_of_threads_do_not_mix(jail: Jail):
    wrong: list[object] = []

    def call(number: int) -> None:
        for turn in range(50):
            found = jail.call("honest", "", f"{number}-{turn}", {"answer": f"{number}-{turn}"}).value
            if found != 1.0:
                wrong.append(found)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not wrong


@pytest.mark.parametrize(
    ("target", "config", "words"),
    [
        ("a_module_that_is_not_there:f", {}, "No module named 'a_module_that_is_not_there'"),
        ("os:nothing_here", {}, "has no attribute 'nothing_here'"),
        ("os:name", {}, "is no function"),
        ("os:getcwd", {"python": Path("/no/python")}, "cannot be started"),
        ("time:sleep", {"python": Path("/bin/cat")}, "cannot start"),
    ],
)
def test_a_worker_that_cannot_start_is_one_line(target: str, config: dict[str, object], words: str):
    with Jail({"f": target}, JailConfig.model_validate(config)) as jail, pytest.raises(JailError, match=words) as found:
        jail.call("f")
    assert found.value.code == "LG-E133"
    assert "\n" not in found.value.message


def test_a_call_that_cannot_be_sent(jail: Jail):
    for args in [(object(),), (float("nan"),), ("x" * 17_000_000,)]:
        with pytest.raises(JailError) as found:
            jail.call("honest", *args)
        assert found.value.code == "LG-E134"
    with pytest.raises(JailError, match="no target 'other'") as found:
        jail.call("other")
    assert found.value.code == "LG-E134"
    honest(jail)


def test_its_folder_goes_with_the_worker():
    with Jail({"cwd": "os:getcwd"}) as jail:
        folder = Path(jail.call("cwd").value)
        assert folder.is_dir()
    assert not folder.exists()


def is_alive(process: int) -> bool:
    """Whether a process runs; a zombie, which nobody reaps in some containers, does not."""
    found = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False
    ).stdout
    return bool(found.strip()) and not found.startswith("Z")


PARENT = """
import sys, threading, time
from lazarus_gym.jail import Jail, JailConfig
jail = Jail({"sleep": "time:sleep"}, JailConfig(wall_s=0.5))
jail.call("sleep", 0)
print(jail.process_id, flush=True)
if sys.argv[1] == "busy":
    jail.call("sleep", 1000)
time.sleep(1000)
"""


@pytest.mark.slow
@pytest.mark.parametrize("state", ["idle", "busy"])
def test_a_worker_ends_with_its_parent(state: str):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, state], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    time.sleep(0.1)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 10
    while is_alive(worker) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_alive(worker)


def test_a_worker_outlives_the_thread_that_started_it():
    with Jail({"pid": "os:getpid"}) as jail:
        thread = threading.Thread(target=jail.call, args=("pid",))
        thread.start()
        thread.join()
        first = jail.process_id
        time.sleep(0.05)
        assert jail.call("pid").value == first


FORKED = """
import os
from lazarus_gym.jail import Jail
jail = Jail({"pid": "os:getpid"})
first = jail.call("pid").value
child = os.fork()
if not child:
    found = jail.call("pid")
    os._exit(0 if found.status == "ok" and found.value != first else 1)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), jail.call("pid").value == first)
"""


def test_a_fork_of_the_parent_gets_a_worker_of_its_own():
    assert subprocess.check_output([sys.executable, "-c", FORKED], timeout=30).split() == [b"0", b"True"]


def test_a_forgotten_jail_leaves_nothing():
    jail = Jail({"cwd": "os:getcwd"})
    folder, process = Path(jail.call("cwd").value), jail.process_id
    del jail
    gc.collect()
    assert not folder.exists()
    assert process is not None
    assert not is_alive(process)


HOOK_ALONE = """
import os, sys
sys.path[:0] = sys.argv[1:3]
from inside.audit_hook import Guard
import jail_attacks, socket, threading, subprocess, ctypes, resource
folder, names = sys.argv[3], sys.argv[4].split(",")
os.chdir(folder)
guard = Guard(folder)
guard.install()
for name in names:
    guard.begin(trusts_text=False, marker="")
    try:
        getattr(jail_attacks, name)(os.path.join(os.path.dirname(folder), "canary"))
    except PermissionError:
        pass
    print(name, bool(guard.attempts))
"""
ACTIONS = (
    *("os_system", "subprocess_run", "posix_spawn", "exec_replaces", "fork", "write_file"),
    *("write_by_descriptor", "remove_file", "link_out", "open_socket", "look_up_name", "use_ctypes", "kill_parent"),
    *("class_walk", "trace", "raise_limits", "new_hook", "compiled_as_file", "cached_code"),
)
"""Attacks that end in an audit event; Python 3.11 has none for threads, which the kernel refuses on Linux."""


def test_the_audit_hook_refuses_without_the_kernel(tmp_path: Path):
    import lazarus_gym.jail.jail as module

    folder = tmp_path / "jail"
    folder.mkdir()
    (tmp_path / "victim").touch()
    words = [
        sys.executable,
        "-c",
        HOOK_ALONE,
        str(Path(module.__file__).parent),
        str(HERE),
        str(folder),
        ",".join(ACTIONS),
    ]
    found = dict(line.split() for line in subprocess.check_output(words, timeout=30, text=True).splitlines())
    assert found == dict.fromkeys(ACTIONS, "True")
    assert not (tmp_path / "canary").exists()
    assert (tmp_path / "victim").exists()


BARE = """
import ctypes, json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from inside import libc, limits, seccomp
folder = Path(sys.argv[2])
found = {"network": libc.leave_network(), "files": libc.only_write_below(folder), "calls": seccomp.refuse_calls()}
import socket
def outcome(work):
    try:
        work()
    except OSError as error:
        return type(error).__name__
    return "done"
found["fork"] = outcome(os.fork)
found["exec"] = outcome(lambda: os.execv("/bin/true", ["true"]))
found["socket"] = outcome(socket.socket)
found["kill"] = outcome(lambda: os.kill(os.getppid(), 0))
found["outside"] = outcome(lambda: (folder.parent / "outside").write_text("x"))
found["inside"] = outcome(lambda: (folder / "inside").write_text("x"))
print(json.dumps(found))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces, Landlock and seccomp are Linux's")
def test_the_kernel_refuses_without_the_audit_hook(tmp_path: Path):
    import lazarus_gym.jail.jail as module

    folder = tmp_path / "jail"
    folder.mkdir()
    words = [sys.executable, "-c", BARE, str(Path(module.__file__).parent), str(folder)]
    found = json.loads(subprocess.check_output(words, timeout=20))
    if found["calls"]:
        assert {found[each] for each in ("fork", "exec", "socket", "kill")} == {"PermissionError"}
    if found["files"]:
        assert (found["outside"], found["inside"]) == ("PermissionError", "done")
        assert not (tmp_path / "outside").exists()
    with Jail({"f": "os:getcwd"}) as jail:
        means = jail.protections
    assert (means.processes == "seccomp", means.files == "landlock") == (found["calls"], found["files"])
    assert (means.network == "namespace") == found["network"]


def test_the_watchdog_ends_a_process_that_grows():
    import lazarus_gym.jail.jail as module

    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); from inside import limits; limits.watch_memory(50_000_000)\n"
        "held = [bytearray(b'x' * 10_000_000) for _ in range(20)]; time.sleep(5)"
    )
    found = subprocess.run([sys.executable, "-c", code, str(Path(module.__file__).parent)], check=False, timeout=20)
    assert found.returncode == 77
