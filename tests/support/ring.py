"""Starts the processes of one run that MLX's ring joins: by `mlx.launch`, or as forks, which start faster."""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from commands import Command, can_fork

LIMIT_S = 120.0


def start(words: Sequence[object], processes: int, hosts: Path) -> list[Command]:
    """Starts a run: one command that launches all processes in a thorough run, else one command for each process.

    Args:
        words: The command of each process, as for `Command`.
        processes: How many; one is started without the ring.
        hosts: Where the addresses of the processes may be written.
    """
    if processes == 1:
        return [Command(words)]
    port = free_port(processes)
    if not can_fork():
        return [Command(launch(words, processes, port), forks=False)]
    hosts.write_text(json.dumps([[f"127.0.0.1:{port + rank}"] for rank in range(processes)]))
    variables = [{"MLX_RANK": str(rank), "MLX_HOSTFILE": str(hosts)} for rank in range(processes)]
    return [Command(words, environment=each, forks=True) for each in variables]


def launch(words: Sequence[object], processes: int, port: int) -> list[object]:
    """The command line of `mlx.launch`."""
    launcher = Path(sys.executable).with_name("mlx.launch")
    return [sys.executable, launcher, "-n", processes, "--backend", "ring", "-p", port, *words]


def finish(started: Sequence[Command]) -> subprocess.CompletedProcess[str]:
    """What the processes wrote, and the first exit code that is not 0."""
    done = [command.finish(LIMIT_S) for command in started]
    code = next((each.returncode for each in done if each.returncode), 0)
    return subprocess.CompletedProcess(
        done[0].args, code, "".join(each.stdout for each in done), "".join(each.stderr for each in done)
    )


def free_port(count: int) -> int:
    """The first of so many free ports that follow each other. Each worker of the tests has a range of its own."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for port in range(random.randrange(20_000, 20_400) + 500 * worker, 32_000):
        with contextlib.suppress(OSError), contextlib.ExitStack() as sockets:
            for each in range(port, port + count):
                sockets.enter_context(socket.socket()).bind(("127.0.0.1", each))
            return port
    raise LookupError("no free ports")
