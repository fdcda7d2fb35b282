"""Tasks with verifiers and environments for training by reinforcement."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lazarus_gym.errors import GymError as GymError
    from lazarus_gym.errors import SamplesError as SamplesError
    from lazarus_gym.errors import TaskError as TaskError
    from lazarus_gym.samples import read_replies as read_replies
    from lazarus_gym.samples import read_tasks as read_tasks
    from lazarus_gym.samples import write_samples as write_samples
    from lazarus_gym.score import Score as Score
    from lazarus_gym.score import score_replies as score_replies
    from lazarus_gym.tasks.maths import KINDS as KINDS
    from lazarus_gym.tasks.maths import Kind as Kind
    from lazarus_gym.tasks.maths import Task as Task
    from lazarus_gym.tasks.maths import Verdict as Verdict
    from lazarus_gym.tasks.maths import generate_tasks as generate_tasks
    from lazarus_gym.tasks.maths import verify as verify

# Public name -> module that defines it; imported at first use.
_HOME = {
    "GymError": "errors",
    "KINDS": "tasks.maths",
    "Kind": "tasks.maths",
    "SamplesError": "errors",
    "Score": "score",
    "Task": "tasks.maths",
    "TaskError": "errors",
    "Verdict": "tasks.maths",
    "generate_tasks": "tasks.maths",
    "read_replies": "samples",
    "read_tasks": "samples",
    "score_replies": "score",
    "verify": "tasks.maths",
    "write_samples": "samples",
}
__all__ = [
    "KINDS",
    "GymError",
    "Kind",
    "SamplesError",
    "Score",
    "Task",
    "TaskError",
    "Verdict",
    "generate_tasks",
    "read_replies",
    "read_tasks",
    "score_replies",
    "verify",
    "write_samples",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
