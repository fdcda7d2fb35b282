"""A folder of tasks: `train.jsonl`, `eval.jsonl` and `preferences.jsonl`, with `tasks.json`, which names settings and digests."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lazarus_core.atomic import whole_folder
from lazarus_core.errors import OutputTaken
from lazarus_core.jsonl import MalformedLine, parse_object
from lazarus_core.outputs import check_names
from lazarus_gym.samples import messages_of, write_samples
from lazarus_gym.tasks.families import TaskSet, wrong_reply
from lazarus_gym.tasks.maths import Task

TRAIN, EVALUATION, PREFERENCES, MANIFEST = "train.jsonl", "eval.jsonl", "preferences.jsonl", "tasks.json"
FORMAT = 1


def check_task_folder(path: Path, *, force: bool = False) -> None:
    """Checks that a folder is absent, empty, or an unchanged folder of tasks.

    Args:
        path: The folder.
        force: Whether files of these names that were changed may be replaced.

    Raises:
        OutputTaken: It holds something else (LG-E118).
    """
    check_names(path, (TRAIN, EVALUATION, PREFERENCES, MANIFEST), "a folder of tasks", code="LG-E118")
    if force or not path.exists() or not any(path.iterdir()):
        return
    try:
        files = parse_object((path / MANIFEST).read_bytes())["files"]
        is_own = all(files[each.name] == _digest(each) for each in path.iterdir() if each.name != MANIFEST)
    except (OSError, MalformedLine, KeyError, TypeError):
        is_own = False
    if not is_own:
        raise OutputTaken(
            f"{path} holds files that were not written as they are: choose another folder, or `force` to replace them",
            "LG-E118",
        )


def write_task_folder(tasks: TaskSet, path: Path, settings: dict[str, Any]) -> None:
    """Writes a folder of tasks, as a whole. Equal tasks give equal bytes.

    Args:
        tasks: The tasks.
        path: The folder; `check_task_folder` allows it.
        settings: What the tasks were made with, for `tasks.json`.
    """
    with whole_folder(path) as folder:
        write_samples(tasks.train, folder / TRAIN)
        write_samples(tasks.evaluation, folder / EVALUATION)
        with (folder / PREFERENCES).open("wb") as file:
            file.writelines(_preferences(tasks.train))
        names = (TRAIN, EVALUATION, PREFERENCES)
        members = {"format": FORMAT, **settings, "files": {name: _digest(folder / name) for name in names}}
        (folder / MANIFEST).write_text(json.dumps(members, indent=1) + "\n", "utf-8")


def _preferences(tasks: Iterable[Task]) -> Iterable[bytes]:
    for task in tasks:
        *prompt, reply = messages_of(task)
        row = {
            "id": task.id,
            "prompt": prompt,
            "chosen": [reply],
            "rejected": [{**reply, "content": wrong_reply(task)}],
        }
        yield (json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
