"""Options that choose the tasks of an evaluation, and the settings that they mean."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from lazarus_core.commands import shared_options

if TYPE_CHECKING:
    from lazarus_models.evaluation import TaskSettings


class Chosen(NamedTuple):
    """The options that choose tasks."""

    task: tuple[str, ...]
    tasks: Path | None
    limit: int | None
    seed: int | None
    batch_size: int


def _chosen(
    task: Annotated[
        list[str] | None,
        typer.Option("-t", "--task", metavar="KIND=PATH", help="Evaluate this kind of task on this data."),
    ] = None,
    tasks: Annotated[
        Path | None, typer.Option("--tasks", help="Evaluate the tasks of this TOML file, with their settings.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Draw this many items of each task [default: all].")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Random seed of the drawn items and of the intervals [default: 0]."),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Generate this many answers together.")] = 8,
) -> Chosen:
    return Chosen(tuple(task or ()), tasks, limit, seed, batch_size)


with_tasks = shared_options("chosen", _chosen)
"""Adds the options that choose tasks to a command, which receives their values as `chosen`."""


def settings_of(chosen: Chosen) -> "list[TaskSettings]":
    """The settings of the chosen tasks; `--limit` and `--seed` replace those of the file."""
    from lazarus_models.errors import EvaluationError

    over = {"limit": chosen.limit, "seed": chosen.seed}
    given = {name: value for name, value in over.items() if value is not None}
    found = [] if chosen.tasks is None else _of_file(chosen.tasks, given)
    for text in chosen.task:
        kind, equals, path = text.partition("=")
        if not (equals and kind and path):
            raise EvaluationError(f"--task {text[:80]!r}: give KIND=PATH, as -t choice=arc.jsonl", "LM-E501")
        found.append(_of_option(kind, {"kind": kind, "data": path, **given}, f"--task {text[:80]}"))
    if not found:
        raise EvaluationError(
            "there is no task to evaluate; give --task KIND=PATH or --tasks FILE. `lazarus eval tasks` lists the kinds",
            "LM-E503",
        )
    return found


def _of_option(kind: str, members: Mapping[str, Any], place: str) -> "TaskSettings":
    """The settings of `--task KIND=PATH`; a kind that needs more than a path is refused with the way to give it."""
    from lazarus_models.errors import EvaluationError
    from lazarus_models.evaluation import load_task, task_kinds, task_settings

    if kind in task_kinds():
        fields = load_task(kind).settings.model_fields
        needed = [f"`{name}`" for name, field in fields.items() if field.is_required() and name not in members]
        if needed:
            raise EvaluationError(
                f"{place}: {kind} needs {' and '.join(needed)} as well; write a table [[task]] into a file and give --tasks FILE",
                "LM-E501",
            )
    return task_settings(members, place)


def _of_file(path: Path, given: Mapping[str, Any]) -> "list[TaskSettings]":
    from lazarus_core.settings import read_settings
    from lazarus_models.errors import EvaluationError
    from lazarus_models.evaluation import task_settings

    read = read_settings(path)
    listed = read.tree.get("task")
    if not isinstance(listed, list) or not listed or len(read.tree) > 1:
        raise EvaluationError(
            f"{path}: no list of tasks; write one table [[task]] for each, and nothing else", "LM-E501"
        )
    found: list[TaskSettings] = []
    for number, members in enumerate(listed, 1):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] (JSON)
        if not isinstance(members, dict):
            raise EvaluationError(f"{path}: task {number} is no table; write [[task]]", "LM-E501")
        values: Mapping[str, Any] = members  # pyright: ignore[reportUnknownVariableType] (JSON)
        found.append(task_settings({**values, **given}, f"{path}: task {number}", read.folder))
    return found


def inputs_of(chosen: Chosen, settings: "Sequence[TaskSettings]") -> list[Path]:
    """The files that the chosen tasks read.

    Args:
        chosen: The options.
        settings: What `settings_of` made of them.
    """
    paths = [value for each in settings for value in dict(each).values() if isinstance(value, Path)]
    return paths if chosen.tasks is None else [chosen.tasks, *paths]
