"""OpenEnv, server side: one session, from a message to its reply. It knows nothing of connections.

Replies have the members and words of openenv 0.10: `observation`, `state` and `error` with `code` and `message`. An episode that
a limit ended is `done` with `truncated` in its metadata, since the protocol has no word for it.
"""

import secrets
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lazarus_core.jsonl import MalformedLine, parse_object
from lazarus_core.reasons import plain_reason
from lazarus_gym.environments import ENVIRONMENTS, make_environment
from lazarus_gym.errors import GymError
from lazarus_gym.interface import Environment, Observation

MAX_ACTION_CHARS = 100_000
ErrorCode = Literal[
    "INVALID_JSON", "UNKNOWN_TYPE", "VALIDATION_ERROR", "EXECUTION_ERROR", "CAPACITY_REACHED", "SESSION_ERROR"
]
Message = dict[str, Any]


class Reset(BaseModel):
    """Parameters of `reset`; others are ignored, as other servers do."""

    model_config = ConfigDict(extra="ignore", strict=True, use_attribute_docstrings=True)

    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Seed of the task; equal seeds give equal tasks. None for one that the server draws and reports."""
    environment: str | None = Field(default=None, max_length=200)
    """Name of an environment, such as `sudoku`; None for that of the session."""
    task: str | None = Field(default=None, max_length=200)
    """Task in it, such as `hard`; None for that of the session, or the first."""
    episode_id: str | None = Field(default=None, min_length=1, max_length=255)
    """Name of the episode; None for one that the server draws."""


class Action(BaseModel):
    """An action."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    action: str = Field(max_length=MAX_ACTION_CHARS)
    """One command of a game, such as `place 1 2 3`, or the answer to a question."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Not used."""


class SessionState(BaseModel):
    """Names and counters of the episode."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    episode_id: str | None
    """Name of the episode; None before the first reset."""
    step_count: int = Field(ge=0)
    """Steps taken in it."""


class OpenEnvSession:
    """The state of one client.

    Args:
        environment: Environment of resets that name none.
        task: Task of such resets; None for the first of the environment.

    Raises:
        EnvironmentUseError: There is no such environment (LG-E130) or task (LG-E131).
    """

    def __init__(self, environment: str = "sudoku", task: str | None = None) -> None:
        check_choice(environment, task)
        self._default, self._task = environment, task
        self._environment: Environment | None = None
        self.episode_id: str | None = None
        self._num_steps = 0
        self.is_closed = False

    def reply(self, content: str | bytes) -> Message | None:
        """The reply to a message of the WebSocket; None for `close`, which has none."""
        try:
            message = parse_object(content.encode() if isinstance(content, str) else content)
        except (MalformedLine, UnicodeEncodeError) as error:
            return error_reply("INVALID_JSON", f"Invalid JSON: {error}")
        kind, data = message.get("type"), message.get("data", {})
        if not isinstance(kind, str) or kind not in ("reset", "step", "state", "close"):
            return error_reply("UNKNOWN_TYPE", f"Unknown message type: {str(kind)[:50]}")
        if not isinstance(data, dict):
            return error_reply("VALIDATION_ERROR", "`data` must be an object")
        try:
            if kind == "reset":
                return {"type": "observation", "data": self.reset(data)}  # pyright: ignore[reportUnknownArgumentType]: of JSON
            if kind == "step":
                return {"type": "observation", "data": self.step(data)}  # pyright: ignore[reportUnknownArgumentType]: of JSON
            if kind == "state":
                return {"type": "state", "data": self.state()}
        except ValidationError as error:
            return error_reply("VALIDATION_ERROR", problem(error))
        except GymError as error:
            return error_reply("EXECUTION_ERROR", error.message)
        self.is_closed = True
        return None

    def reset(self, data: Message) -> Message:
        """Begins an episode.

        Raises:
            ValidationError: A parameter has another type or is out of range.
            EnvironmentUseError: There is no such environment (LG-E130) or task (LG-E131).
        """
        asked = Reset.model_validate(data)
        name = asked.environment or self._default
        environment = make_environment(name)
        task = asked.task or (self._task if name == self._default else None)
        seed = secrets.randbelow(2**31) if asked.seed is None else asked.seed
        observation = environment.reset(seed=seed, task=task)
        self._environment, self._num_steps = environment, 0
        self.episode_id = asked.episode_id or secrets.token_hex(16)
        return _observed(observation, None, False, {"episode_id": self.episode_id, "truncated": False})

    def step(self, data: Message) -> Message:
        """Executes an action.

        Raises:
            ValidationError: It is no action.
            EnvironmentUseError: No episode is in progress (LG-E132).
        """
        action = Action.model_validate(data)
        step = self._playing().step(action.action)
        self._num_steps += 1
        info = {"episode_id": self.episode_id, "truncated": step.truncated, **step.info}
        return _observed(step.observation, step.reward, step.done or step.truncated, info)

    def state(self) -> Message:
        """Names and counters of the episode; those alone before the first reset."""
        members = SessionState(episode_id=self.episode_id, step_count=self._num_steps).model_dump()
        return members if self._environment is None else {**members, **self._environment.state().model_dump()}

    def _playing(self) -> Environment:
        if self._environment is None:
            return make_environment(self._default)  # its error says that `reset` must come first
        return self._environment


def check_choice(environment: str, task: str | None) -> None:
    """Refuses names that no reset could use.

    Args:
        environment: Name of an environment.
        task: Name of a task in it, or None.

    Raises:
        EnvironmentUseError: There is no such environment (LG-E130) or task (LG-E131).
    """
    from lazarus_gym.errors import EnvironmentUseError

    tasks = make_environment(environment).tasks
    if task is not None and task not in tasks:
        raise EnvironmentUseError(f"unknown task {task!r}; choose from {', '.join(tasks)}", "LG-E131")


def choices() -> dict[str, list[str]]:
    """The tasks of every environment."""
    return {name: list(make_environment(name).tasks) for name in ENVIRONMENTS}


def error_reply(code: ErrorCode, message: str) -> Message:
    """A reply of type `error`.

    Args:
        code: Word for programs.
        message: Sentence for people.
    """
    return {"type": "error", "data": {"message": message, "code": code}}


def problem(error: ValidationError) -> str:
    """The first problem of a message in one line, without what the client sent."""
    first = error.errors(include_input=False, include_url=False)[0]
    return f"`{'.'.join(map(str, first['loc'])) or 'data'}`: {plain_reason(first['msg'])}"


def _observed(observation: Observation, reward: float | None, is_over: bool, metadata: Message) -> Message:
    seen = {**observation.model_dump(mode="json"), "metadata": metadata}
    return {"observation": seen, "reward": reward, "done": is_over, "metadata": metadata}
