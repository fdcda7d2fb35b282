"""The tool-call tasks as an environment: the first action is the call of the calculator as JSON."""

import json

from lazarus_gym.errors import EnvironmentUseError
from lazarus_gym.interface import Observation, State, Step
from lazarus_gym.tasks.maths import Task, generate_tasks
from lazarus_gym.tasks.tool_calls import CALCULATOR, call_of, verify_call

DIGITS = 2
_FORM = "the call as a JSON object with `name` and `arguments`"


class ToolCallEnvironment:
    """One question an episode that a call of the calculator solves."""

    name = "tool_calls"
    tasks: tuple[str, ...] = ("calculator_call",)

    def __init__(self) -> None:
        self._task: Task | None = None
        self._seed = 0
        self._is_correct: bool | None = None

    def reset(self, *, seed: int, task: str | None = None) -> Observation:
        """Asks a question.

        Args:
            seed: Any integer.
            task: `calculator_call`, or None.

        Raises:
            EnvironmentUseError: The task is another one (LG-E131).
        """
        if task is not None and task not in self.tasks:
            raise EnvironmentUseError(f"unknown task {task!r}; choose from {', '.join(self.tasks)}", "LG-E131")
        self._task = generate_tasks(1, seed=seed, kinds=["calculator_call"], digits=DIGITS)[0]
        self._seed, self._is_correct = seed, None
        return self._observe(self.text_of(self._task))

    @staticmethod
    def text_of(task: Task) -> str:
        """The text of a question, with the tool's schema."""
        schema = json.dumps(CALCULATOR["function"], separators=(",", ":"))
        return f"Tool: {schema}\n{task.prompt}\nReply with {_FORM} and nothing else."

    def step(self, action: str) -> Step:
        """Answers the question.

        Args:
            action: The call.

        Raises:
            EnvironmentUseError: No question is open (LG-E132).
        """
        task = self._asked()
        if self._is_correct is not None:
            raise EnvironmentUseError("the episode has ended: call `reset`", "LG-E132")
        self._is_correct = verify_call(task.prompt, action)
        return Step(
            observation=self._observe("Correct." if self._is_correct else "Wrong."),
            reward=float(self._is_correct),
            done=True,
            truncated=False,
            info={"solved": self._is_correct},
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
            difficulty=0.0,
            solved=bool(self._is_correct),
            forfeited=False,
            done=self._is_correct is not None,
            truncated=False,
        )

    def solution(self) -> tuple[str, ...]:
        """The right call, for oracles and audits."""
        return (json.dumps(call_of(self._asked().prompt)),)

    def _asked(self) -> Task:
        if self._task is None:
            raise EnvironmentUseError("no episode has begun: call `reset` first", "LG-E132")
        return self._task

    def _observe(self, text: str) -> Observation:
        task = self._asked()
        return Observation(text=text, environment=self.name, task=task.kind, seed=self._seed, commands=(_FORM,))
