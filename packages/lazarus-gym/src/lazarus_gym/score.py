"""Accuracy of replies with a confidence interval."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TypeVar

from lazarus_gym.samples import check_pairs
from lazarus_gym.tasks.maths import Task, verify
from lazarus_gym.tasks.questions import ALL_KINDS, Kind

Value = TypeVar("Value")
_Z = 1.959963984540054  # the 97.5 % point of the normal distribution: an interval of 95 %


@dataclass(frozen=True)
class Score:
    """Number of correct replies of n.

    >>> score = Score(correct=61, n=80)
    >>> score.accuracy, [round(end, 3) for end in score.interval]
    (0.7625, [0.659, 0.842])
    """

    correct: int
    n: int

    @property
    def accuracy(self) -> float:
        """Fraction of correct replies, 0 to 1."""
        return self.correct / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy (E. B. Wilson 1927), valid for few replies and near 0 and 1."""
        return wilson_interval(self.accuracy, self.n)


def wilson_interval(p: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval (E. B. Wilson 1927).

    Args:
        p: The mean, 0 to 1.
        n: The number of values, at least 1.
    """
    z2 = _Z * _Z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    # It holds p and stays within [0, 1]; rounding must not say otherwise.
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))


def score_replies(tasks: Iterable[Task], replies: Mapping[str, str]) -> dict[str, Score]:
    """Scores one reply to every task, by kind and in total (`"all"`, last).

    Args:
        tasks: Tasks with distinct ids.
        replies: Replies by task id.

    Raises:
        SamplesError: A task has no reply, or a reply has no task. A score of a subset would mislead.
    """
    tasks = list(tasks)
    check_ids(tasks, replies)
    verdicts = by_kind((task.kind, verify(task, replies[task.id]).correct) for task in tasks)
    return {kind: Score(sum(each), len(each)) for kind, each in verdicts.items()}


def check_ids(tasks: Sequence[Task], replies: Mapping[str, str]) -> None:
    """Checks that there is one reply to every task and no other.

    Args:
        tasks: Tasks with distinct ids.
        replies: Replies by task id.

    Raises:
        SamplesError: A task without a reply, or a reply without a task.
    """
    check_pairs([task.id for task in tasks], replies)


def by_kind(values: Iterable[tuple[Kind, Value]]) -> "dict[str, list[Value]]":
    """Values by kind of their tasks, in the order of `ALL_KINDS`, and all of them (`"all"`, last)."""
    values = list(values)
    kinds = {kind: [value for of, value in values if of == kind] for kind in ALL_KINDS}
    return {kind: found for kind, found in kinds.items() if found} | {"all": [value for _, value in values]}
