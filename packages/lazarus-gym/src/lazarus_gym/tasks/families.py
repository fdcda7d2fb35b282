"""Families of tasks, and data sets of them: training and evaluation without a common question.

A kind is a numbered set of questions, and a seed decides on an order of it. Training takes the first ones, evaluation the
next ones. So no question is in both, whatever the seed and the counts are.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from lazarus_gym.errors import TaskError
from lazarus_gym.tasks.maths import Task, generate_tasks, verify
from lazarus_gym.tasks.questions import KINDS, AlgebraKind, Kind, StoryKind, ToolKind

FAMILIES: dict[str, tuple[Kind, ...]] = {
    "math": KINDS,
    "algebra": get_args(AlgebraKind),
    "word": get_args(StoryKind),
    "tools": get_args(ToolKind),
}
"""Kinds by family."""


@dataclass(frozen=True)
class TaskSet:
    """Tasks to train on and tasks to evaluate with; no question is in both."""

    train: list[Task]
    evaluation: list[Task]


def family_kinds(name: str) -> tuple[Kind, ...]:
    """The kinds of a family.

    Raises:
        TaskError: There is no such family (LG-E100).
    """
    if name in FAMILIES:
        return FAMILIES[name]
    names = [f"`{each}`" for each in FAMILIES]
    raise TaskError(f"unknown type {name!r}; there is {', '.join(names[:-1])} and {names[-1]}", "LG-E100")


def generate_set(
    count: int, evaluation: int, *, seed: int = 0, kinds: Sequence[Kind] = KINDS, digits: int = 2
) -> TaskSet:
    """Generates disjoint tasks for training and evaluation.

    >>> tasks = generate_set(3, 2, kinds=["addition"])
    >>> [task.prompt for task in tasks.train], [task.prompt for task in tasks.evaluation]
    (['What is 17 + 92?', 'What is 5 + 89?', 'What is 1 + 68?'], ['What is 11 + 0?', 'What is 73 + 23?'])

    Args:
        count: Tasks for training, at least 1.
        evaluation: Tasks for evaluation, 0 or more.
        seed: Any integer.
        kinds: Kinds, without duplicates.
        digits: The numbers in the questions are below 10**digits; 1 to 7.

    Raises:
        TaskError: A kind has fewer different questions than both sets need, or an argument is out of range.
    """
    if evaluation < 0:
        raise TaskError(f"`evaluation` is {evaluation}; give 0 or more", "LG-E101")
    tasks = generate_tasks(count + evaluation, seed=seed, kinds=kinds, digits=digits) if count > 0 else []
    if not tasks:
        raise TaskError(f"`count` is {count}; give at least 1", "LG-E101")
    return TaskSet(tasks[:count], tasks[count:])


def wrong_reply(task: Task) -> str:
    """A reply of the same form with a wrong number at its end, for preferences.

    Which mistake it is depends on the task alone: one too many or too few, a wrong sign, ten too many, or a digit lost.

    >>> wrong_reply(generate_tasks(1)[0])
    '17 + 92 = 99'
    """
    answer = task.answer
    mistakes = [answer + 1, answer - 1, answer + 10, answer - 10, -answer, answer // 10]
    first = hashlib.sha256(task.id.encode()).digest()[0]
    order = [mistakes[(first + step) % len(mistakes)] for step in range(len(mistakes))]
    wrong = next(each for each in order if each != answer)
    head, found, _ = task.reply.rpartition(str(answer))
    assert found, "a worked reply ends with its answer"
    reply = f"{head}{wrong}"
    assert not verify(task, reply).correct
    return reply
