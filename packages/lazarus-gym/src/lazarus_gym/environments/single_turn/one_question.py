"""Environments that ask one question of `lazarus_gym.tasks` an episode."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from lazarus_gym.errors import EnvironmentUseError
from lazarus_gym.interface import Observation, State, Step
from lazarus_gym.tasks.maths import Task, generate_tasks
from lazarus_gym.tasks.questions import Kind

DIGITS = 2


class OneQuestion(ABC):
    """One question an episode; the first action answers it."""

    name: ClassVar[str]
    tasks: tuple[Kind, ...]
    form: ClassVar[str]
    """Form of the answer."""

    def __init__(self) -> None:
        self._task: Task | None = None
        self._seed = 0
        self._is_correct: bool | None = None

    @staticmethod
    @abstractmethod
    def text_of(task: Task) -> str:
        """The text of a question."""

    @abstractmethod
    def judge(self, task: Task, action: str) -> tuple[bool, dict[str, Any]]:
        """Whether an answer is right, and further members of `Step.info`.

        Args:
            task: The question.
            action: The answer.
        """

    @abstractmethod
    def answer(self, task: Task) -> str:
        """The right answer."""

    def reset(self, *, seed: int, task: str | None = None) -> Observation:
        """Asks a question.

        Args:
            seed: Any integer.
            task: A kind of question, one of `tasks`; None for the first.

        Raises:
            EnvironmentUseError: The kind is unknown (LG-E131).
        """
        kind: Kind | None = next((each for each in self.tasks if each == (task or self.tasks[0])), None)
        if kind is None:
            raise EnvironmentUseError(f"unknown task {task!r}; choose from {', '.join(self.tasks)}", "LG-E131")
        self._task = generate_tasks(1, seed=seed, kinds=[kind], digits=DIGITS)[0]
        self._seed, self._is_correct = seed, None
        return self._observe(self.text_of(self._task))

    def step(self, action: str) -> Step:
        """Answers the question.

        Args:
            action: The answer.

        Raises:
            EnvironmentUseError: No question is open (LG-E132).
        """
        task = self._asked()
        if self._is_correct is not None:
            raise EnvironmentUseError("the episode has ended: call `reset`", "LG-E132")
        self._is_correct, more = self.judge(task, action)
        return Step(
            observation=self._observe("Correct." if self._is_correct else "Wrong."),
            reward=float(self._is_correct),
            done=True,
            truncated=False,
            info={"solved": self._is_correct, **more},
        )

    def state(self) -> State:
        """Counters of the episode.

        Raises:
            EnvironmentUseError: `reset` was not called (LG-E132).
        """
        kind = self._asked().kind
        return State(
            environment=self.name,
            task=kind,
            seed=self._seed,
            moves=int(self._is_correct is not None),
            invalid_moves=0,
            hints_used=0,
            reference_moves=1,
            progress=float(bool(self._is_correct)),
            difficulty=[str(each) for each in self.tasks].index(kind) / len(self.tasks),
            solved=bool(self._is_correct),
            forfeited=False,
            done=self._is_correct is not None,
            truncated=False,
        )

    def solution(self) -> tuple[str, ...]:
        """The right answer, for oracles and audits."""
        return (self.answer(self._asked()),)

    def _asked(self) -> Task:
        if self._task is None:
            raise EnvironmentUseError("no episode has begun: call `reset` first", "LG-E132")
        return self._task

    def _observe(self, text: str) -> Observation:
        kind = self._asked().kind
        return Observation(text=text, environment=self.name, task=kind, seed=self._seed, commands=(self.form,))
