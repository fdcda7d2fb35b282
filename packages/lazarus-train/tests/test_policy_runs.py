"""Runs that learn from rewards: any number of processes draws the same answers, and a killed run continues with the same bytes."""

import json
import random
import re
import signal
import sys

import pytest

import commands
import ring
from killer import killer
from lazarus_train import OptimizerSettings, train, verify_run
from lazarus_train.objectives.policy.grpo import GrpoSettings
from suite import repeats, thinned

KILLS = repeats(20, 4)
REWARD = """
def vowels(prompt, completion, row):
    return sum(each in "aeiou" for each in completion) / (1 + len(completion))
"""
SETTINGS = {"reward": "policy_letters:vowels", "group_size": 4, "max_new_tokens": 120, "beta": 0.02}


def options(setup, output: str, *more: object) -> list[str]:
    return [
        *(
            "grpo",
            "--model",
            setup.model,
            "--data",
            setup.data,
            "--batch-plan",
            setup.plan,
            "-o",
            setup.folder / output,
        ),
        *("--reward", "policy_letters:vowels", "--group-size", 4, "--max-new-tokens", 120, "--beta", 0.02),
        *("--learning-rate", "5e-3", "--save-every", 1, *more),
    ]


@pytest.fixture
def rewarded(setup, monkeypatch):
    (setup.folder / "policy_letters.py").write_text(REWARD)
    monkeypatch.delitem(sys.modules, "policy_letters", raising=False)  # that of an earlier test, whose folder is gone
    monkeypatch.syspath_prepend(setup.folder)
    monkeypatch.chdir(setup.folder)
    setup.build_plan(epochs=4)
    return setup


def config(setup, output: str, steps: int):
    return setup.config(
        output,
        objective=GrpoSettings(**SETTINGS),
        max_steps=steps,
        save_every=1,
        optimizer=OptimizerSettings(learning_rate=5e-3),
    )


@pytest.mark.slow
@pytest.mark.parametrize("processes", thinned([2, 3], [2]))
@pytest.mark.thorough
def test_any_number_of_processes_draws_the_same_answers(rewarded, processes):
    train(config(rewarded, "alone", 2))
    command = [sys.executable, "-m", "lazarus_train", *options(rewarded, "several", "--max-steps", 2)]
    done = ring.finish(ring.start(command, processes, rewarded.folder / "hosts.json"))
    assert (rewarded.folder / "several/final/model.safetensors").is_file(), done.stderr
    drawn = [(rewarded.folder / run / "rollouts.jsonl").read_text().splitlines() for run in ("alone", "several")]
    first = [[json.loads(line) for line in each if json.loads(line)["step"] == 1] for each in drawn]
    for alone, several in zip(*first, strict=True):
        assert alone.pop("logprobs") == pytest.approx(several.pop("logprobs"), abs=1e-4)
        assert alone == several
    rewards = [
        [json.loads(line)["reward"] for line in (rewarded.folder / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("alone", "several")
    ]
    assert rewards[0] == pytest.approx(rewards[1], abs=1e-3)
    assert rewarded.steps("several") == rewarded.steps("alone")
    # One process draws again what several drew: their shares, one after the other.
    links = {link.name: link for link in verify_run(rewarded.folder / "several", replay=6)}
    assert re.search(r"steps 1, 2 drawn again .* the same bytes", links["replay"].proof)


@pytest.mark.slow
def test_a_run_killed_anywhere_draws_the_same_answers_and_gets_the_same_weights(rewarded):
    train(config(rewarded, "straight", 3))
    words = list(map(str, options(rewarded, "killed", "--max-steps", 3)))
    seeded = random.Random(3)
    for _ in range(KILLS):
        moment = str(seeded.randint(5, 120))
        done = commands.run(
            [sys.executable, "-c", killer("lazarus-train"), str(rewarded.folder / "killed"), moment, *words]
        )
        assert done.returncode in (-signal.SIGKILL, 0), done.stderr
    done = commands.run([sys.executable, "-m", "lazarus_train", *words])
    assert done.returncode == 0, done.stderr
    assert rewarded.fingerprints("killed") == rewarded.fingerprints("straight")
    found = [(rewarded.folder / run / "rollouts.jsonl").read_bytes() for run in ("killed", "straight")]
    assert found[0] == found[1]
    assert rewarded.audit("killed") == rewarded.audit("straight")
