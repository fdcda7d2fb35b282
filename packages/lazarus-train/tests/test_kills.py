"""A run that is killed thirty times (in the default run ten), anywhere, comes to the bytes of the run that never was: law 4, hardened."""

import random
import signal
import sys

import pytest

import commands
from killer import killer
from lazarus_train import train
from lazarus_train.run_dir.checkpoint import checkpoints, find_damage
from lazarus_train.run_dir.layout import RunFolder
from suite import repeats

KILLS = repeats(30, 10)


@pytest.mark.slow
def test_killed_many_times_the_run_is_the_same_and_its_checkpoints_are_always_whole(setup, lora_settings):
    held_out = setup.folder / "held-out.jsonl"
    held_out.write_text("".join(setup.data.read_text().splitlines(keepends=True)[:4]))
    setup.build_plan(epochs=8)
    settings = {"save_every": 1, "keep_checkpoints": 2, "eval_data": {"held-out": held_out}, "eval_every": 3}
    train(setup.config("straight", **settings, lora=lora_settings))
    folder = RunFolder(setup.folder / "killed")
    options = {
        "model": setup.model,
        "data": setup.data,
        "batch-plan": setup.plan,
        "output": folder.path,
        "learning-rate": 5e-3,
        "save-every": 1,
        "keep-checkpoints": 2,
        "eval-data": held_out,
        "eval-every": 3,
        "lora-rank": 4,
        "lora-alpha": 8,
        "lora-dropout": 0.1,
    }
    words = ["sft", "--use-lora", *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
    in_a_save, seeded = 0, random.Random(7)
    for _ in range(KILLS):
        command = [sys.executable, "-c", killer("lazarus-train"), str(folder.path), str(seeded.randint(1, 150)), *words]
        done = commands.run(command)
        assert done.returncode == -signal.SIGKILL, done.stderr
        found = checkpoints(folder.checkpoints)
        assert [find_damage(path) for path in found] == [None] * len(found)
        in_a_save += any(folder.checkpoints.glob(".step-*.tmp"))
    assert in_a_save >= KILLS // 6
    done = commands.run([sys.executable, "-m", "lazarus_train", *words])
    assert done.returncode == 0, done.stderr
    assert setup.fingerprints("killed") == setup.fingerprints("straight")
    assert setup.audit("killed") == setup.audit("straight")
    left = [
        {path.relative_to(setup.folder / run) for path in (setup.folder / run).rglob("*")}
        for run in ("straight", "killed")
    ]
    assert left[0] == left[1] - {folder.rewound.relative_to(folder.path)}, "nothing half written, nothing gone"
