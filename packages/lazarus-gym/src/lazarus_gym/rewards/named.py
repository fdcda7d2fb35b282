"""Rewards by name: how good a reply to a task is, from 0 to 1.

A reward of another package is an entry point of the group `lazarus.rewards`. Its object is a function from a task and a reply:

    [project.entry-points."lazarus.rewards"]
    short = "my_package:short"      # def short(task: Task, reply: str) -> float
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, cast

from lazarus_core.plugins import PluginGroup, near_name, reason
from lazarus_gym.answers import gsm8k_answer
from lazarus_gym.errors import RewardError
from lazarus_gym.score import by_kind, check_ids, wilson_interval
from lazarus_gym.tasks.maths import Task, verify

Reward = Callable[[Task, str], float]
"""A function from a task and a reply to a number from 0 to 1."""
GROUP = PluginGroup("lazarus.rewards", "reward", "a function of a task and a reply", callable, RewardError, "LG-E121")
"""Rewards of other packages."""


def _exact(task: Task, reply: str) -> float:
    return float(verify(task, reply).correct)


def _gsm8k(task: Task, reply: str) -> float:
    return float(gsm8k_answer(reply) == task.answer)


BUILT_IN: dict[str, Reward] = {"math": _exact, "gsm8k": _gsm8k}
"""Rewards of this package, 1 for right and 0 for wrong: `math` reads the last number, `gsm8k` the one after `####`."""


@dataclass(frozen=True)
class MeanReward:
    """The mean reward of n replies.

    >>> MeanReward(mean=0.75, n=80).interval
    (0.6451532538076602, 0.8319376814245761)
    """

    mean: float
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the mean. Rewards between 0 and 1 vary less than 0 and 1 do, so it is rather too wide."""
        return wilson_interval(self.mean, self.n)


def reward(name: str) -> Reward:
    """The reward of a name.

    >>> task = Task("addition-d2-s0-0", "addition", "What is 17 + 92?", "17 + 92 = 109", 109)
    >>> reward("math")(task, "109")
    1.0

    Raises:
        RewardError: No package provides it, or the package that does cannot be loaded. The function raises it too, where the
            reward fails or gives another value than a number from 0 to 1.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    found = GROUP.load(name)
    if found is None:
        known = [*BUILT_IN, *(each for each in GROUP.names() if each not in BUILT_IN)]
        raise RewardError(
            f"there is no reward {name!r}{near_name(name, known)}; there are {', '.join(known)}. Give one of them, or install the "
            "package that provides it",
            "LG-E120",
        )
    return _checked(found.value, f"the reward {name!r} of the package {found.package}")


def reward_replies(tasks: Iterable[Task], replies: Mapping[str, str], *, name: str) -> dict[str, MeanReward]:
    """The mean reward of one reply to every task, by kind and in all (`"all"`, last).

    Args:
        tasks: The tasks, each with an id of its own.
        replies: The replies by id of their tasks: one to every task and no other.
        name: Name of the reward.

    Raises:
        SamplesError: A task without a reply, or a reply without a task.
        RewardError: See `reward`.
    """
    tasks = list(tasks)
    check_ids(tasks, replies)
    of = reward(name)
    values = by_kind((task.kind, of(task, replies[task.id])) for task in tasks)
    return {kind: MeanReward(sum(each) / len(each), len(each)) for kind, each in values.items()}


def _checked(function: Callable[[Task, str], Any], what: str) -> Reward:
    """The reward, with errors and values out of range as errors that name the package and the task."""

    def checked(task: Task, reply: str) -> float:
        try:
            value = function(task, reply)
        except Exception as error:  # any error of another package
            raise RewardError(
                f"{what} failed for the task {task.id!r} ({reason(error)}): update that package, or choose another reward",
                "LG-E122",
            ) from error
        if not isinstance(value, Real) or not 0 <= cast("Any", value) <= 1:
            raise RewardError(
                f"{what} gave {value!r} for the task {task.id!r}, not a number from 0 to 1: update that package, or choose "
                "another reward",
                "LG-E122",
            )
        return float(value)

    return checked
