"""The maths tasks as an environment: the question is the observation, the first action is the answer."""

from typing import Any

from lazarus_gym.environments.single_turn.one_question import OneQuestion
from lazarus_gym.tasks.maths import Task, verify
from lazarus_gym.tasks.questions import ALL_KINDS, Kind

ASKED: tuple[Kind, ...] = tuple(kind for kind in ALL_KINDS if kind != "calculator_call")
"""Kinds that are answered without a tool."""


class MathsEnvironment(OneQuestion):
    """One question of `lazarus_gym.tasks` an episode; the answer is the last number of the action."""

    name = "maths"
    tasks = ASKED
    form = "the answer as a number"

    @staticmethod
    def text_of(task: Task) -> str:
        """The text of a question."""
        return task.prompt

    def judge(self, task: Task, action: str) -> tuple[bool, dict[str, Any]]:
        """Whether an answer is right, and the number that was found in it.

        Args:
            task: The question.
            action: The answer; words around the number are ignored.
        """
        verdict = verify(task, action)
        return verdict.correct, {"found": verdict.found or ""}

    def answer(self, task: Task) -> str:
        """The right number."""
        return str(task.answer)
