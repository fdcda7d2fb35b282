"""The games and tasks of this package, as functions of the worker: names, items and scores.

An item of training is a puzzle of a low seed, or a task of the first part of a set; one of evaluation has a high seed, or
is in the second part.
"""

import json
from functools import lru_cache
from itertools import islice
from typing import Any

from lazarus_gym.environments.boards import solutions
from lazarus_gym.environments.cell_game import CellGame
from lazarus_gym.environments.game import LEVELS
from lazarus_gym.environments.nonogram import Nonogram, pictures
from lazarus_gym.environments.play import Play
from lazarus_gym.environments.puzzle import PuzzleEnvironment
from lazarus_gym.environments.registry import GAMES, find_game
from lazarus_gym.tasks.families import TaskSet, generate_set
from lazarus_gym.tasks.maths import Task, verify
from lazarus_gym.tasks.questions import ALL_KINDS, Kind
from lazarus_gym.tasks.tool_calls import call_of, verify_call

SIZE = 64
"""Tasks of training and of evaluation."""
_EVALUATION_SEED = 1_000_000
_MAX_ACTIONS = 400


def names() -> list[str]:
    """Names of the games and of the kinds of questions."""
    return [*GAMES, *ALL_KINDS]


def item(name: str, seed: int, index: int) -> dict[str, Any]:
    """The question, the right answer, wrong answers and the number of solutions.

    Args:
        name: A game or a kind.
        seed: 0 for training, otherwise evaluation.
        index: Place of the item, below `SIZE`.
    """
    if name not in GAMES:
        return task_item(_task(name, seed, index))
    environment = PuzzleEnvironment(find_game(name))
    text = environment.reset(seed=_seed(seed, index), task=_level(index)).text
    moves = environment.solution()
    wrong = {
        "half of the solution": "\n".join(moves[: len(moves) // 2]),
        "giving up": "solve",
        "giving up, then the solution": "\n".join(("solve", *moves)),
        "hints only": "\n".join(["hint"] * 20),
    }
    return {
        "question": text,
        "answer": "\n".join(moves),
        "solutions": _num_solutions(name, seed, index),
        "wrong": wrong,
    }


def score(name: str, seed: int, index: int, answer: str) -> float:
    """The reward of an answer; that of a game has one action a line.

    Args:
        name: A game or a kind.
        seed: 0 for training, otherwise evaluation.
        index: Place of the item.
        answer: The answer.
    """
    if name not in GAMES:
        return judge(_task(name, seed, index), answer)
    environment = PuzzleEnvironment(find_game(name))
    environment.reset(seed=_seed(seed, index), task=_level(index))
    total = 0.0
    for action in islice(answer.split("\n"), _MAX_ACTIONS):
        step = environment.step(action)
        total += step.reward
        if step.done or step.truncated:
            break
    return total


def fresh_items(name: str, seed: int, indices: list[int]) -> list[dict[str, Any]]:
    """Items made anew, in the given order.

    Args:
        name: A game or a kind.
        seed: 0 for training, otherwise evaluation.
        indices: Places of the items.
    """
    _tasks.cache_clear()
    found = [item(name, seed, index) for index in indices]
    return [{"question": each["question"], "answer": each["answer"]} for each in found]


def task_item(task: Task) -> dict[str, Any]:
    """The question, the right answer and a wrong one of a task."""
    wrong = {"a number that is one too large": str(task.answer + 1)}
    return {"question": task.prompt, "answer": _reply(task), "solutions": None, "wrong": wrong}


def judge(task: Task, answer: str) -> float:
    """The reward of an answer, 1 or 0.

    Args:
        task: The task.
        answer: The answer.
    """
    if task.kind == "calculator_call":
        return float(verify_call(task.prompt, answer))
    return float(verify(task, answer).correct)


def _seed(seed: int, index: int) -> int:
    return (_EVALUATION_SEED if seed else 0) + index


def _level(index: int) -> str:
    return LEVELS[index % len(LEVELS)]


@lru_cache(maxsize=64)
def _tasks(name: str) -> TaskSet:
    kinds: dict[str, Kind] = {kind: kind for kind in ALL_KINDS}
    return generate_set(SIZE, SIZE, kinds=[kinds[name]])


def _task(name: str, seed: int, index: int) -> Task:
    found = _tasks(name)
    return (found.evaluation if seed else found.train)[index]


def _reply(task: Task) -> str:
    if task.kind != "calculator_call":
        return task.reply
    return json.dumps(call_of(task.prompt))


def _num_solutions(name: str, seed: int, index: int) -> int | None:
    """Solutions of a puzzle that promises one, counted up to 2; None for other games."""
    game: Any = find_game(name)
    play = Play(game, _level(index), _seed(seed, index))
    puzzle = play.puzzle
    if isinstance(game, CellGame):
        board = game.board(puzzle.size, puzzle.less).fill(puzzle.givens)
        return sum(1 for _ in islice(solutions(board), 2))
    if isinstance(game, Nonogram):
        return len(pictures(puzzle.size, puzzle.rows, puzzle.columns, limit=2))
    return None
