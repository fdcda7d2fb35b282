"""The tasks of a file that `lazarus gym export` wrote, as functions of the worker. The name of a set is that of its module."""

import sys
from typing import Any


def names() -> list[str]:
    """The worker has imported the module by its name; the parent knows it."""
    return []


def item(name: str, seed: int, index: int) -> dict[str, Any]:
    """The question and the right answer of a row.

    Args:
        name: Name of the module.
        seed: Not used: a file has one set of rows.
        index: Place of the row; behind the last one the first follows.
    """
    module, row = _row(name, index)
    question = str(module.make_episode(row).first_text())
    return {"question": question, "answer": "\n".join(module.solution(row)), "solutions": None, "wrong": {}}


def score(name: str, seed: int, index: int, answer: str) -> float:
    """What the file pays for an answer; that of a game has one reply a line.

    Args:
        name: Name of the module.
        seed: Not used.
        index: Place of the row.
        answer: The answer.
    """
    module, row = _row(name, index)
    return float(module.score(row, answer.split("\n") if hasattr(module, "GAME") else [answer]))


def fresh_items(name: str, seed: int, indices: list[int]) -> list[dict[str, Any]]:
    """Rows whose questions are made anew.

    Args:
        name: Name of the module.
        seed: Not used.
        indices: Places of the rows.
    """
    found = [item(name, seed, index) for index in indices]
    return [{"question": each["question"], "answer": each["answer"]} for each in found]


def _row(name: str, index: int) -> tuple[Any, Any]:
    module = sys.modules[name]
    return module, module.ROWS[index % len(module.ROWS)]
