"""Files of tasks and replies: tasks are chat samples, one JSON object per line.

{"id":"addition-d2-s0-0","kind":"addition","messages":[{"role":"user",...},{"role":"assistant",...}],"answer":109}
    {"id":"addition-d2-s0-0","reply":"17 + 92 = 109"}

Training reads `messages` of the first form. `lazarus-gym verify` compares replies, the second form, with `answer`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lazarus_core.atomic import whole_file
from lazarus_core.errors import InputError
from lazarus_core.jsonl import read_objects
from lazarus_core.outputs import OutputKind
from lazarus_gym.errors import SamplesError
from lazarus_gym.tasks.maths import Task
from lazarus_gym.tasks.questions import ALL_KINDS
from lazarus_gym.tasks.tool_calls import CALCULATOR, call_of

TASKS = OutputKind("a file of tasks", code="LG-E118")
"""Kind of a task file. It looks like any chat samples, so replacing one always needs `force`."""


def write_samples(tasks: Iterable[Task], path: Path | str) -> None:
    """Writes tasks as chat samples, atomically. Equal tasks give equal bytes.

    Args:
        tasks: Tasks in the order of the lines.
        path: Output file.
    """
    with whole_file(Path(path)) as file:
        file.writelines(_line(task).encode() for task in tasks)


def read_tasks(path: Path | str) -> list[Task]:
    """Reads a file of `write_samples`.

    Raises:
        SamplesError: The file is missing or empty, or a line is not a task.
    """
    tasks: dict[str, Task] = {}
    for where, row in _rows(Path(path)):
        match row:
            case {
                "id": str(id),
                "kind": kind,
                "messages": [{"content": str(prompt)}, *_, {"content": str(reply)}],
                "answer": int(answer),
            } if kind in ALL_KINDS:
                task = Task(id, kind, prompt, reply, answer)
            case _:
                raise SamplesError(f"{where}: not a task: give a file that `write_samples` wrote", "LG-E113")
        if task.id in tasks:
            raise SamplesError(
                f"{where}: id {task.id!r} also occurs in an earlier line: give each line its own id", "LG-E114"
            )
        tasks[task.id] = task
    return list(tasks.values())


def read_replies(path: Path | str) -> dict[str, str]:
    """Reads replies by task id from lines `{"id":..,"reply":..}`; other members are ignored.

    A line without `reply` can have `response` or `completion` instead: `lazarus infer --json` writes `response`.

    Raises:
        SamplesError: The file is missing or empty, or a line is not a reply.
    """
    replies: dict[str, str] = {}
    for where, row in _rows(Path(path)):
        match row:
            case (
                {"id": str(id), "reply": str(reply)}
                | {"id": str(id), "response": str(reply)}
                | {
                    "id": str(id),
                    "completion": str(reply),
                }
            ):
                if id in replies:
                    raise SamplesError(
                        f"{where}: id {id!r} also occurs in an earlier line: give each line its own id", "LG-E114"
                    )
                replies[id] = reply
            case _:
                raise SamplesError(f'{where}: not a reply; a line is {{"id":"...","reply":"..."}}', "LG-E115")
    return replies


def read_rows(path: Path) -> dict[str, dict[str, Any]]:
    """Reads the lines of a data set by `id`; any other members may follow.

    Raises:
        SamplesError: The file is missing or empty, or a line has no id of its own.
    """
    rows: dict[str, dict[str, Any]] = {}
    for where, row in _rows(Path(path)):
        key = row.get("id")
        if not isinstance(key, str):
            raise SamplesError(f"{where}: no text in `id`: give each line its own id", "LG-E113")
        if key in rows:
            raise SamplesError(
                f"{where}: id {key!r} also occurs in an earlier line: give each line its own id", "LG-E114"
            )
        rows[key] = row
    return rows


def check_pairs(ids: Iterable[str], replies: Mapping[str, str]) -> None:
    """Checks that there is one reply to every id and no other.

    Args:
        ids: Ids of the tasks, each once.
        replies: Replies by id.

    Raises:
        SamplesError: A task without a reply (LG-E116), or a reply without a task (LG-E117).
    """
    ids = list(ids)
    if missing := [each for each in ids if each not in replies]:
        raise SamplesError(f"{len(missing)} of {len(ids)} tasks have no reply, the first is {missing[0]!r}", "LG-E116")
    if foreign := replies.keys() - set(ids):
        raise SamplesError(f"{len(foreign)} replies have no task, one is {min(foreign)!r}", "LG-E117")


def _line(task: Task) -> str:
    row: dict[str, Any] = {"id": task.id, "kind": task.kind, "messages": messages_of(task), "answer": task.answer}
    if task.kind == "calculator_call":
        row["tools"] = [CALCULATOR]
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"


def messages_of(task: Task) -> list[dict[str, Any]]:
    """The conversation of a task: the question, the call of a tool where there is one, and the worked reply."""
    user: dict[str, Any] = {"role": "user", "content": task.prompt}
    assistant: dict[str, Any] = {"role": "assistant", "content": task.reply}
    if task.kind != "calculator_call":
        return [user, assistant]
    call = {"type": "function", "id": "call_0", "function": call_of(task.prompt)}
    result = {"role": "tool", "tool_call_id": "call_0", "name": "calculator", "content": str(task.answer)}
    return [user, {"role": "assistant", "content": "", "tool_calls": [call]}, result, assistant]


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the location (`file:line`) and the object of every line."""
    try:
        rows = read_objects(path)
        number = 0
        for members, number, _ in rows:
            yield f"{path}:{number}", members
    except FileNotFoundError:
        raise SamplesError(f"{path} does not exist: correct the path", "LG-E110") from None
    except InputError as error:
        raise SamplesError(error.message, "LG-E112") from error
    if not number:
        raise SamplesError(f"{path} is empty: give a file with lines", "LG-E111")
