"""Several processes are one run: the same losses, the same steps in the audit log, and any number goes on where any other stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import ring
from commands import Command, can_fork, wait_until
from commands import run as run_command
from lazarus_train import train
from suite import is_thorough, repeats, thinned

STEPS = 6


def command(setup, output: str, *more: object) -> list[object]:
    return [
        *(sys.executable, "-m", "lazarus_train", "sft"),
        *("--model", setup.model, "--data", setup.data, "--batch-plan", setup.plan, "-o", setup.folder / output),
        *("--learning-rate", "5e-3", "--save-every", 2, *more),
    ]


def start(setup, processes: int, output: str, *more: object) -> list[Command]:
    return ring.start(command(setup, output, *more), processes, setup.folder / f"hosts-{output}.json")


def run(*arguments) -> subprocess.CompletedProcess[str]:
    return ring.finish(start(*arguments))


def losses(setup, output: str) -> list[float]:
    return [json.loads(line)["loss"] for line in (setup.folder / output / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def longer(tmp_path_factory, make_setup):
    """A plan of ten epochs, and what one process makes of six steps of it."""
    setup = make_setup(tmp_path_factory.mktemp("ranks"))
    setup.build_plan(epochs=10)
    train(setup.config("alone", max_steps=STEPS))
    return setup


@pytest.mark.slow
@pytest.mark.parametrize("processes", thinned([2, 3, 4], [2, 3]))
def test_any_number_of_processes_trains_on_the_same_and_learns_the_same(longer, processes):
    done = run(longer, processes, f"run-{processes}", "--max-steps", STEPS)
    assert (longer.folder / f"run-{processes}/final/model.safetensors").is_file(), done.stderr
    assert losses(longer, f"run-{processes}") == pytest.approx(losses(longer, "alone"), abs=1e-5)
    assert longer.steps(f"run-{processes}") == longer.steps("alone")


@pytest.mark.slow
def test_the_same_number_of_processes_gives_the_same_bits(longer):
    weights = []
    for name in ("first", "second"):
        run(longer, 2, name, "--max-steps", 3)
        weights.append((longer.folder / name / "final/model.safetensors").read_bytes())
    assert weights[0] == weights[1]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", thinned(["adamw", "muon"], ["adamw"]))
def test_a_sharded_optimizer_gives_the_same_bits_and_the_same_checkpoint(longer, optimizer):
    written = {}
    for name, options in (("whole", []), ("sharded", ["--shard-optimizer"])):
        done = run(longer, 2, f"{name}-{optimizer}", "--max-steps", 3, "--optimizer", optimizer, *options)
        folder = longer.folder / f"{name}-{optimizer}/checkpoints/step-0000003"
        assert folder.is_dir(), done.stderr
        written[name] = [(folder / file).read_bytes() for file in ("model.safetensors", "optimizer.safetensors")]
    assert written["whole"] == written["sharded"]
    if not is_thorough():
        return
    run(longer, 3, f"sharded-{optimizer}", "--max-steps", 5, "--optimizer", optimizer, "--shard-optimizer")
    run(longer, 3, f"whole-{optimizer}", "--max-steps", 5, "--optimizer", optimizer)
    final = [
        (longer.folder / f"{name}-{optimizer}/final/model.safetensors").read_bytes() for name in ("whole", "sharded")
    ]
    assert final[0] == final[1]


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), thinned([(3, 2), (1, 2), (2, 1)], [(3, 2)]))
def test_a_run_goes_on_with_another_number_of_processes(longer, before, after):
    name = f"from-{before}-to-{after}"
    run(longer, before, name, "--max-steps", 3)
    run(longer, after, name, "--max-steps", STEPS)
    assert losses(longer, name) == pytest.approx(losses(longer, "alone"), abs=1e-5)
    assert longer.steps(name) == longer.steps("alone")


@pytest.mark.slow
def test_mpi_joins_processes_as_the_ring_does(longer):
    if shutil.which("mpirun") is None:
        pytest.skip("no MPI on this machine")
    environment = os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    for processes, steps in ((2, 3), (3, STEPS)):
        words = ["mpirun", "--oversubscribe", "-n", processes, *command(longer, "mpi", "--max-steps", steps)]
        done = subprocess.run(
            list(map(str, words)), capture_output=True, text=True, env=environment, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert f"rank {processes - 1}: joining" in done.stderr
    assert losses(longer, "mpi") == pytest.approx(losses(longer, "alone"), abs=1e-5)
    assert longer.steps("mpi") == longer.steps("alone")


@pytest.mark.slow
@pytest.mark.parametrize("victim", thinned([0, 1], [1]))
def test_a_killed_process_stops_the_run_with_a_word_and_another_number_goes_on(longer, victim):
    name, steps = f"killed-{victim}", repeats(40, 24)
    train(longer.config("alone-longer", max_steps=steps))
    audit = longer.folder / name / "audit.jsonl"
    started = start(longer, 2, name, "--max-steps", steps)
    wait_until(started[0], lambda: audit.is_file() and audit.read_bytes().count(b"\n") > 2)
    if len(started) == 2:
        started[victim].send_signal(signal.SIGKILL)
    else:
        os.kill(pid_of_rank(victim, str(longer.folder / name)), signal.SIGKILL)
    words = ring.finish(started).stderr
    # `mlx.launch` stops the other processes, which may come before they miss the killed one
    assert "another process of this run ended" in words or (not can_fork() and "stopped by SIGTERM" in words)
    assert "Traceback" not in words
    run(longer, 3, name, "--max-steps", steps)
    assert losses(longer, name) == pytest.approx(losses(longer, "alone-longer"), abs=1e-4)
    assert longer.steps(name) == longer.steps("alone-longer")


def pid_of_rank(rank: int, output: str) -> int:
    """The process that trains into a folder as this rank, by what it was started with."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # ended in the meantime, or is not ours
        if f"MLX_RANK={rank}".encode() in environment and {b"lazarus_train", output.encode()} <= set(command):
            return int(folder.name)
    raise LookupError(f"no rank {rank} of {output}")


@pytest.mark.slow
def test_processes_that_mean_different_runs_are_refused(longer):
    script = longer.folder / "differs.sh"
    training = command(longer, "differs", "--seed")
    if can_fork():
        code = (
            "import os, sys; sys.argv.append(os.environ['MLX_RANK']); from lazarus_train.__main__ import main; main()"
        )
        done = ring.finish(ring.start([sys.executable, "-c", code, *training[3:]], 2, longer.folder / "hosts-differs"))
    else:
        script = longer.folder / "differs.sh"
        script.write_text(f'#!/bin/sh\nexec {" ".join(map(str, training))} "$MLX_RANK"\n')
        script.chmod(0o755)
        done = subprocess.run(
            list(map(str, ring.launch([script], 2, ring.free_port(2)))),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert "the run's processes do not agree on `settings`" in done.stderr
    assert not (longer.folder / "differs/final").exists()


@pytest.mark.slow
def test_a_launch_that_cannot_be_joined_is_one_line_and_exit_2(longer):
    (longer.folder / "hosts.json").write_text("")
    environment = {"MLX_RANK": "0", "MLX_HOSTFILE": str(longer.folder / "hosts.json")}
    done = run_command(command(longer, "hosts"), environment=environment, timeout=60)
    assert done.returncode == 2
    assert "error: rank 0 cannot join the run's processes" in done.stderr
