"""Kinds of tasks: one line a kind. Other packages add kinds by the entry-point group `lazarus.eval_tasks`.

    [project.entry-points."lazarus.eval_tasks"]
    cloze = "toy_package:TASK"

The object is a `Task` of `lazarus_models.evaluation`. It is imported when its kind is asked for.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from lazarus_core.errors import LazarusError
from lazarus_core.plugins import PluginGroup, near_name
from lazarus_models.config.huggingface import in_words
from lazarus_models.errors import EvaluationError
from lazarus_models.evaluation.task import Task, TaskSettings

_ROOM = "lazarus_models.evaluation.tasks"
TASKS = {
    "perplexity": "perplexity",
    "choice": "multiple_choice",
    "gsm8k": "gsm8k",
    "generation": "generation_suite",
    "preference": "preference",
    "forgetting": "forgetting",
}
"""Kinds of this package, and the module of each in `tasks`."""
UNKNOWN, UNFIT, BAD_PLUGIN = "LM-E500", "LM-E501", "LM-E506"


def _is_task(value: Any) -> bool:
    if not isinstance(value, Task):
        return False
    task = cast("Task[Any]", value)
    return issubclass(task.settings, TaskSettings) and callable(task.run)


GROUP = PluginGroup(
    "lazarus.eval_tasks", "task", "a `Task` of lazarus_models.evaluation", _is_task, EvaluationError, BAD_PLUGIN
)


def task_kinds() -> list[str]:
    """The kinds of tasks: those of this package, then those of others, sorted."""
    return [*TASKS, *(name for name in GROUP.names() if name not in TASKS)]


def load_task(kind: str) -> Task[Any]:
    """The task of a kind.

    Raises:
        EvaluationError: There is no such kind, or its package cannot be used.
    """
    if kind in TASKS:
        return import_module(f"{_ROOM}.{TASKS[kind]}").TASK
    plugin = GROUP.load(kind)
    if plugin is None:
        known = task_kinds()
        raise EvaluationError(
            f"there is no task {kind!r}{near_name(kind, known)}; there are {', '.join(known)}", UNKNOWN
        )
    return plugin.value


def task_settings(members: Mapping[str, Any], place: str, folder: Path | None = None) -> TaskSettings:
    """The settings of a task from the values of a file or a command line.

    Args:
        members: Values by name; `kind` decides which are known.
        place: Where they are from, for messages.
        folder: Relative paths begin here; None for the working directory.

    Raises:
        EvaluationError: The kind is unknown, or a value is missing, unknown or out of range.
    """
    kind = members.get("kind")
    if not isinstance(kind, str):
        raise EvaluationError(f"{place}: `kind` is missing; there are {', '.join(task_kinds())}", UNFIT)
    try:
        task = load_task(kind)
        found: TaskSettings = task.settings.model_validate(dict(members))
    except ValidationError as error:
        raise EvaluationError(f"{place}: {in_words(error)}", UNFIT) from error
    except LazarusError as error:
        raise EvaluationError(f"{place}: {error.message}", error.code) from error
    if folder is None:
        return found
    paths = {name: value for name in type(found).model_fields if isinstance(value := getattr(found, name), Path)}
    return found.model_copy(update={name: folder / path for name, path in paths.items()})
