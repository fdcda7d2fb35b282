"""Draws roll-outs of a run again, from the checkpoints before their steps, and compares them to the byte."""

import json
from typing import Any, cast

import numpy as np

from lazarus_train.cpu.thread_parallel import Replicas
from lazarus_train.devices import device_policy, prepare_device, weight_bytes
from lazarus_train.distributed import SINGLE
from lazarus_train.engine.policy.on_policy import BETA, policy_of
from lazarus_train.engine.state import TrainState
from lazarus_train.errors import CorruptCheckpoint, ForeignCheckpoint, SetupError
from lazarus_train.objectives.base import Bindings, make_objective
from lazarus_train.objectives.policy.base import PolicyObjective
from lazarus_train.preflight.inputs import RunInputs
from lazarus_train.rollouts.record import Rollout, digest_of, line_of
from lazarus_train.rollouts.rewards import OK
from lazarus_train.run_dir.checkpoint import State, checkpoints, read_state
from lazarus_train.run_dir.links import Link
from lazarus_train.run_dir.manifest import REWARD_FILES
from lazarus_train.run_dir.metrics import JSON, read_lines
from lazarus_train.verify.evidence import RunEvidence


def rollouts_link(run: RunEvidence) -> Link:
    """Checks that the roll-outs of every step have the digest in its metrics, which the chain binds.

    Args:
        run: The run.

    Raises:
        CorruptCheckpoint: A step's roll-outs differ.
    """
    lines = [line for line in read_lines(run.folder.metrics) if "loss" in line]
    by_step = _by_step(run)
    for line in lines:
        found = digest_of([Rollout.of(each) for each in by_step.get(line["step"], [])])
        if found != line.get("rollouts"):
            raise CorruptCheckpoint(
                f"{run.folder.rollouts}: the roll-outs of step {line['step']} differ from their digest in {run.folder.metrics.name}",
                "LR-E208",
            )
    count = sum(map(len, by_step.values()))
    return Link(
        "rollouts", f"{count} answers of {len(lines)} steps: bytes bound by the chain; `replay` draws some again"
    )


def check_replayable(run: RunEvidence) -> None:
    """Refuses a run that draws no answers, before anything is checked.

    Raises:
        SetupError: The run is of another objective.
    """
    if not make_objective(run.config.objective).is_on_policy:
        raise SetupError("`replay` is for runs of `train grpo` and `train ppo`; this run draws no answers", "LR-E254")


def replay_link(run: RunEvidence, inputs: RunInputs, count: int) -> Link:
    """Draws roll-outs again, and compares the lines.

    Args:
        run: The run.
        inputs: Its prompts.
        count: Number of roll-outs; they are spread over the steps that have a checkpoint before them. The whole step of each is
            drawn again, because other answers of a batch change the last bits of an answer.

    Raises:
        SetupError: The run draws no answers.
        ForeignCheckpoint: A file of the reward was changed.
        CorruptCheckpoint: A line differs.
    """
    unbound = cast("PolicyObjective", make_objective(run.config.objective))
    objective = unbound.bind(Bindings(inputs.dataset, inputs.encoder.tokenizer))
    objective.folder = str(run.members["folder"])  # where the run was started
    changed = objective.changed_reward(run.members.get(REWARD_FILES))
    if changed is not None:
        raise ForeignCheckpoint(
            f"{changed} is not the reward of the run: it was changed since, so the answers cannot be scored again; restore it",
            "LR-E210",
        )
    by_step = _by_step(run)
    states: dict[int, State | None] = {0: None}
    states |= {state.next_step: state for state in map(read_state, checkpoints(run.folder.checkpoints))}
    steps = [done for done in sorted(states) if done + 1 in by_step]
    if not steps:
        raise SetupError(f"{run.folder.path} has no roll-outs behind a checkpoint", "LR-E254")
    places = [(step, line) for step in steps for line in range(len(by_step[step + 1]))]
    chosen = [places[int(place)] for place in np.linspace(0, len(places) - 1, min(count, len(places)))]
    for done in sorted({step for step, _ in chosen}):
        drawn = _drawn(run, inputs, objective, done, states[done])
        wanted = by_step[done + 1]
        for line in [line for step, line in chosen if step == done]:
            recorded = line_of(Rollout.of(wanted[line]))
            again = line_of(drawn[line]) if line < len(drawn) else b""
            if again != recorded:
                place = f"answer {wanted[line]['copy']} to sample {wanted[line]['sample']} of step {done + 1}"
                raise _differs(f"{run.folder.rollouts}: {place}", recorded, again, run.config.objective)
    listed = ", ".join(str(step + 1) for step in sorted({step for step, _ in chosen}))
    return Link(
        "replay", f"{len(chosen)} roll-outs of steps {listed} drawn again from the weights before them: the same bytes"
    )


def _differs(place: str, recorded: bytes, again: bytes, settings: Any) -> CorruptCheckpoint:
    """The error of an answer; it tells whether the answer is another one, or its reward alone."""
    before, now = json.loads(recorded), json.loads(again or b"{}")
    words = "differs when it is drawn again from the weights before the step"
    if again and all(before[name] == now[name] for name in ("ids", "logprobs", "seeds", "texts")):
        verdicts = [each["reward"] if each["status"] == OK else each["status"] for each in (before, now)]
        words = (
            f"is the same when it is drawn again, but its reward is not: it was {verdicts[0]} and is {verdicts[1]}; `reward` "
            f"{settings.reward or settings.environment} was changed since, or gives other rewards for the same answer"
        )
    return CorruptCheckpoint(f"{place} {words}", "LR-E255")


def _drawn(
    run: RunEvidence, inputs: RunInputs, objective: PolicyObjective, done: int, state: State | None
) -> list[Rollout]:
    """The roll-outs of the step after `done` steps."""
    config = run.config
    prepare_device(weight_bytes(config.model), config.kernels)
    tokenizer = inputs.encoder.tokenizer
    if state is None:
        model = TrainState.fresh(config, None, SINGLE, tokenizer)
    else:
        model = TrainState.restored(config, None, state, tokenizer)
    lm = model.lm
    threads = config.threads_of(device_policy(weight_bytes(config.model)).threads)
    policy = policy_of(
        config,
        inputs,
        lm,
        objective,
        Replicas(lm.model, threads),
        SINGLE,
        None,
        shares=int(run.members.get("processes", 1)),
    )
    lines = [line for line in read_lines(run.folder.rollouts) if line["step"] <= done]
    metrics = [line for line in read_lines(run.folder.metrics) if "loss" in line and line["step"] == done]
    policy.resume(lines, metrics[-1].get(BETA) if metrics else None)
    return policy.draw_again(inputs.plan.step(done))


def _by_step(run: RunEvidence) -> dict[int, list[JSON]]:
    found: dict[int, list[JSON]] = {}
    for line in read_lines(run.folder.rollouts):
        found.setdefault(line["step"], []).append(line)
    return found
