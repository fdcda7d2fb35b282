"""Tasks of other packages as environments: questions and verdicts come from a worker in the jail."""

import sys
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lazarus_core.plugins import near_name
from lazarus_gym.errors import EnvironmentUseError
from lazarus_gym.interface import Observation, State, Step
from lazarus_gym.jail import Jail, JailConfig, JailResult

REASONING_GYM = "reasoning-gym"
"""Prefix of the names of reasoning-gym's tasks, as in `reasoning-gym:spell_backward`."""
NOT_INSTALLED = (
    "reasoning-gym is not installed here: install it into an environment of its own, and set `python` to the Python of "
    "that environment"
)
MAX_SEED = 2**31 - 1
_MODULE = "inside.reasoning_tasks"
_FUNCTIONS = ("names", "item", "score")
_CONFIG: Mapping[str, Any] = {"wall_s": 30.0, "cpu_s": 30.0, "memory_mb": 1500, "imports": ("reasoning_gym",)}


class JailedEnvironment:
    """One question an episode; the first action is the answer, and the verifier of the other package judges it.

    An answer whose verdict is aborted, since the verifier failed, hung or tried something that the jail refuses, ends the
    episode as truncated with reward 0: `info` has `status` and `reason`.

    Args:
        name: Name of the environment.
        subject: Name of the task in the worker.
        jail: A jail with the functions `item` and `score`.
    """

    tasks: tuple[str, ...] = ("default",)

    def __init__(self, name: str, subject: str, jail: Jail) -> None:
        self.name = name
        self._subject, self._jail = subject, jail
        self._item: Mapping[str, Any] | None = None
        self._seed = 0
        self._last: Step | None = None

    def reset(self, *, seed: int, task: str | None = None) -> Observation:
        """Asks a question.

        Args:
            seed: 0 to 2**31 - 1.
            task: `default` or None.

        Raises:
            EnvironmentUseError: The seed is out of range, the task unknown, or the package cannot make it (LG-E131).
            JailError: The worker cannot start (LG-E133).
        """
        if not 0 <= seed <= MAX_SEED:
            raise EnvironmentUseError(f"`seed` is {seed}; give 0 to {MAX_SEED}", "LG-E131")
        if task not in (None, *self.tasks):
            raise EnvironmentUseError(f"unknown task {task!r}; choose from {', '.join(self.tasks)}", "LG-E131")
        self._item, self._seed, self._last = self._ask(seed), seed, None
        return self._observe(str(self._item["question"]))

    def step(self, action: str) -> Step:
        """Answers the question.

        Args:
            action: The answer, as the question asks for it.

        Raises:
            EnvironmentUseError: No question is open (LG-E132).
        """
        self._asked()
        if self._last is not None:
            raise EnvironmentUseError("the episode has ended: call `reset`", "LG-E132")
        result = self._judge(action)
        reward, is_ok = result.value, result.status == "ok"
        if is_ok and not (isinstance(reward, int | float) and 0 <= reward <= 1):
            result = JailResult("aborted", reason=f"gave {reward!r:.80}, not a number from 0 to 1")
            is_ok = False
        paid = float(reward) if is_ok else 0.0
        self._last = Step(
            observation=self._observe("Judged." if is_ok else "Not judged."),
            reward=paid,
            done=is_ok,
            truncated=not is_ok,
            info={"status": result.status, "reason": result.reason, "solved": paid >= 1.0},
        )
        return self._last

    def state(self) -> State:
        """Counters of the episode.

        Raises:
            EnvironmentUseError: `reset` was not called (LG-E132).
        """
        self._asked()
        last = self._last
        reward = 0.0 if last is None else last.reward
        return State(
            environment=self.name,
            task=self.tasks[0],
            seed=self._seed,
            moves=int(last is not None),
            invalid_moves=0,
            hints_used=0,
            reference_moves=1,
            progress=reward,
            difficulty=0.0,
            solved=reward >= 1.0,
            forfeited=False,
            done=last is not None and last.done,
            truncated=last is not None and last.truncated,
        )

    def solution(self) -> tuple[str, ...]:
        """The package's own answer, for oracles and audits; empty where it has none."""
        answer = str(self._asked()["answer"])
        return (answer,) if answer else ()

    def _ask(self, seed: int) -> Mapping[str, Any]:
        result = self._jail.call("item", self._subject, seed, 0, trusts_text=True)
        if result.status != "ok":
            raise EnvironmentUseError(
                f"{self.name} cannot make the task of seed {seed} ({result.reason}): choose another seed", "LG-E131"
            )
        return result.value

    def _judge(self, answer: str) -> JailResult:
        if self._jail.process_id is None:  # a new worker makes the task again
            self._ask(self._seed)
        return self._jail.call("score", self._subject, self._seed, 0, answer, answer=answer)

    def _asked(self) -> Mapping[str, Any]:
        if self._item is None:
            raise EnvironmentUseError("no episode has begun: call `reset` first", "LG-E132")
        return self._item

    def _observe(self, text: str) -> Observation:
        return Observation(
            text=text,
            environment=self.name,
            task=self.tasks[0],
            seed=self._seed,
            commands=("the answer, as the question asks for it",),
        )


def reasoning_environment(name: str, *, python: Path | None = None) -> JailedEnvironment:
    """A task of reasoning-gym. All environments of one Python share a worker, which ends with this process.

    Args:
        name: Its name, with or without the prefix `reasoning-gym:`.
        python: Python of an environment with reasoning-gym; None for the one that runs.

    Raises:
        EnvironmentUseError: There is no such task (LG-E130), or reasoning-gym is not installed (LG-E136).
        JailError: The worker cannot start (LG-E133).
    """
    if python is None and find_spec("reasoning_gym") is None:
        raise EnvironmentUseError(NOT_INSTALLED, "LG-E136")
    subject = name.removeprefix(f"{REASONING_GYM}:")
    jail = _worker(Path(sys.executable) if python is None else python.absolute())
    known = _known(jail)
    if subject not in known:
        raise EnvironmentUseError(
            f"reasoning-gym has no task {subject!r}{near_name(subject, known)}; it has {', '.join(known)}", "LG-E130"
        )
    return JailedEnvironment(f"{REASONING_GYM}:{subject}", subject, jail)


@cache
def _worker(python: Path) -> Jail:
    return Jail({name: f"{_MODULE}:{name}" for name in _FUNCTIONS}, JailConfig(python=python, **_CONFIG))


@cache
def _known(jail: Jail) -> tuple[str, ...]:
    result = jail.call("names", trusts_text=True)
    return tuple(map(str, result.value)) if result.status == "ok" else ()
