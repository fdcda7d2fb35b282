"""The maths tasks as an environment: the question is the observation, the first action is the answer."""

from lazarus_gym.errors import EnvironmentUseError
from lazarus_gym.interface import Observation, State, Step
from lazarus_gym.tasks.maths import Task, generate_tasks, verify
from lazarus_gym.tasks.questions import ALL_KINDS, Kind

DIGITS = 2
ASKED: tuple[Kind, ...] = tuple(kind for kind in ALL_KINDS if kind != "calculator_call")
"""Kinds that are answered without a tool."""


class MathsEnvironment:
    """One question of `lazarus_gym.tasks` an episode; the answer is the last number of the action."""

    name = "maths"
    tasks: tuple[str, ...] = ASKED

    def __init__(self) -> None:
        self._task: Task | None = None
        self._seed = 0
        self._is_correct: bool | None = None

    def reset(self, *, seed: int, task: str | None = None) -> Observation:
        """Asks a question.

        Args:
            seed: Any integer.
            task: A kind of question; None for `addition`.

        Raises:
            EnvironmentUseError: The kind is unknown (LG-E131).
        """
        kind = _kind(task or ASKED[0])
        self._task = generate_tasks(1, seed=seed, kinds=[kind], digits=DIGITS)[0]
        self._seed, self._is_correct = seed, None
        return self._observe(self._task.prompt)

    def step(self, action: str) -> Step:
        """Answers the question.

        Args:
            action: The answer; words around the number are ignored.

        Raises:
            EnvironmentUseError: No question is open (LG-E132).
        """
        task = self._asked()
        if self._is_correct is not None:
            raise EnvironmentUseError("the episode has ended: call `reset`", "LG-E132")
        verdict = verify(task, action)
        self._is_correct = verdict.correct
        return Step(
            observation=self._observe("Correct." if verdict.correct else "Wrong."),
            reward=float(verdict.correct),
            done=True,
            truncated=False,
            info={"solved": verdict.correct, "found": verdict.found or ""},
        )

    def state(self) -> State:
        """Counters of the episode.

        Raises:
            EnvironmentUseError: `reset` was not called (LG-E132).
        """
        task = self._asked()
        return State(
            environment=self.name,
            task=task.kind,
            seed=self._seed,
            moves=int(self._is_correct is not None),
            invalid_moves=0,
            hints_used=0,
            reference_moves=1,
            progress=float(bool(self._is_correct)),
            difficulty=ASKED.index(task.kind) / len(ASKED),
            solved=bool(self._is_correct),
            forfeited=False,
            done=self._is_correct is not None,
            truncated=False,
        )

    def solution(self) -> tuple[str, ...]:
        """The right answer, for oracles and audits."""
        return (str(self._asked().answer),)

    def _asked(self) -> Task:
        if self._task is None:
            raise EnvironmentUseError("no episode has begun: call `reset` first", "LG-E132")
        return self._task

    def _observe(self, text: str) -> Observation:
        task = self._asked()
        return Observation(
            text=text, environment=self.name, task=task.kind, seed=self._seed, commands=("the answer as a number",)
        )


def _kind(name: str) -> Kind:
    for kind in ASKED:
        if kind == name:
            return kind
    raise EnvironmentUseError(f"unknown task {name!r}; choose from {', '.join(ASKED)}", "LG-E131")
