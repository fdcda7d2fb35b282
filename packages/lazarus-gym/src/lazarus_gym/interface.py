"""The interfaces of environments (`reset`, `step` and `state`) and of rewards (`score`), with frozen results.

An *episode* begins with `reset` and ends with a step that is `done` (the task decided it) or `truncated` (a limit did).
Local environments implement `Environment`; remote ones implement `AsyncEnvironment`, with the same names as coroutines.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Observation(_Frozen):
    """What the player sees."""

    text: str
    """The whole view as text: rules on `reset`, then the reply to the last action and the position."""
    environment: str
    """Name of the environment, such as `sudoku`."""
    task: str
    """Name of the task inside it, such as `easy`."""
    seed: int
    """Seed of the task."""
    grid: tuple[tuple[int, ...], ...] | None = None
    """Numbers of the board row by row, where there is a board; 0 is an empty cell."""
    commands: tuple[str, ...] = ()
    """Forms of the actions that are understood, such as `place ROW COLUMN DIGIT`."""


class Step(_Frozen):
    """Result of one action."""

    observation: Observation
    reward: float
    """Reward of this action alone."""
    done: bool
    """The task has ended: solved, lost or given up."""
    truncated: bool
    """A limit of the environment ended the episode."""
    info: dict[str, Any]
    """Components of the reward and counters, each a number, a boolean or a string."""


class State(_Frozen):
    """Counters of the episode in progress."""

    environment: str
    task: str
    seed: int
    moves: int
    """Accepted moves."""
    invalid_moves: int
    """Refused actions."""
    hints_used: int
    reference_moves: int
    """Moves that the reference solution needs from the start. It does not change during the episode."""
    progress: float
    """Part of the task that is finished, 0 to 1."""
    difficulty: float
    """Measured difficulty of the task, 0 to 1; comparable within an environment."""
    solved: bool
    forfeited: bool
    """The player asked for the solution, so the task cannot count as solved."""
    done: bool
    truncated: bool


class Environment(Protocol):
    """A local environment."""

    @property
    def name(self) -> str:
        """Name in the registry."""
        ...

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names that `reset` accepts as `task`."""
        ...

    def reset(self, *, seed: int, task: str | None = None) -> Observation:
        """Begins an episode.

        Args:
            seed: Equal seeds give equal tasks on every machine.
            task: One of `tasks`; None for the first.
        """
        ...

    def step(self, action: str) -> Step:
        """Executes one action of the player."""
        ...

    def state(self) -> State:
        """Counters of the episode."""
        ...


class AsyncEnvironment(Protocol):
    """An environment behind a connection."""

    async def reset(self, *, seed: int, task: str | None = None) -> Observation:
        """Begins an episode.

        Args:
            seed: Equal seeds give equal tasks on every machine.
            task: Name of a task; None for the first.
        """
        ...

    async def step(self, action: str) -> Step:
        """Executes one action of the player."""
        ...

    async def state(self) -> State:
        """Counters of the episode."""
        ...


Message = Mapping[str, Any]
"""A message of a conversation, with `role` and `content`."""


class AnswerLike(Protocol):
    """What a reward judges. Any object with these attributes is one, so a trainer needs no class of this package."""

    @property
    def prompt(self) -> str | Sequence[Message]:
        """The question, as text or as the messages before the reply."""
        ...

    @property
    def completion(self) -> str:
        """Text of the reply."""
        ...

    @property
    def row(self) -> Mapping[str, Any]:
        """Fields of the data set's row, such as `answer`."""
        ...


class VerdictLike(Protocol):
    """What a reward returns for an answer."""

    @property
    def reward(self) -> float | None:
        """The number to train with; None when `status` is `aborted`."""
        ...

    @property
    def parts(self) -> Mapping[str, float]:
        """Values of the parts by name, without their weights, for logs."""
        ...

    @property
    def status(self) -> str:
        """`ok` or `aborted`. An aborted answer has no reward: leave it out, do not count it as 0."""
        ...


class Scorer(Protocol):
    """A reward as a trainer calls it."""

    def score(self, batch: Sequence[AnswerLike], /) -> Sequence[VerdictLike]:
        """One verdict for each answer, in the same order."""
        ...
