"""The tasks of a file or folder of `lazarus generate`, as functions of the worker. The name of a set is its path."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from lazarus_gym.audit.own_tasks import judge, task_item
from lazarus_gym.samples import read_tasks
from lazarus_gym.tasks.maths import Task

TRAIN, EVALUATION = "train.jsonl", "eval.jsonl"


def names() -> list[str]:
    """No set has a name of its own."""
    return []


def item(name: str, seed: int, index: int) -> dict[str, Any]:
    """The question, the right answer and a wrong one.

    Args:
        name: Path of the file or folder.
        seed: 0 for the file, or the file of training; otherwise the file of evaluation.
        index: Place of the task.
    """
    return task_item(_task(name, seed, index))


def score(name: str, seed: int, index: int, answer: str) -> float:
    """The reward of an answer.

    Args:
        name: Path of the file or folder.
        seed: See `item`.
        index: Place of the task.
        answer: The answer.
    """
    return judge(_task(name, seed, index), answer)


def fresh_items(name: str, seed: int, indices: list[int]) -> list[dict[str, Any]]:
    """Tasks of the file, which is read anew.

    Args:
        name: Path of the file or folder.
        seed: See `item`.
        indices: Places of the tasks.
    """
    _tasks.cache_clear()
    found = [item(name, seed, index) for index in indices]
    return [{"question": each["question"], "answer": each["answer"]} for each in found]


def shared(path: str) -> tuple[int, int]:
    """The number of questions of evaluation that are questions of training, too, and the number of all of evaluation.

    Args:
        path: A folder of tasks.
    """
    training = {task.prompt for task in read_tasks(Path(path) / TRAIN)}
    evaluation = read_tasks(Path(path) / EVALUATION)
    return sum(task.prompt in training for task in evaluation), len(evaluation)


@lru_cache(maxsize=4)
def _tasks(path: str, name: str) -> list[Task]:
    return read_tasks(Path(path) / name if name else Path(path))


def _task(path: str, seed: int, index: int) -> Task:
    """The task at a place; behind the last one the first follows."""
    name = (EVALUATION if seed else TRAIN) if Path(path).is_dir() else ""
    found = _tasks(path, name)
    return found[index % len(found)]
