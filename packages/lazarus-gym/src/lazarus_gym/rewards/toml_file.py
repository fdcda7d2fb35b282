"""Reads a file of rewards."""

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lazarus_core.errors import InputError
from lazarus_core.settings import Read, read_settings
from lazarus_gym.errors import RewardError
from lazarus_gym.rewards.composed import ComposedReward
from lazarus_gym.rewards.settings import TYPES, RewardFile

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)


def load_rewards(path: Path, *, python: Path | None = None) -> ComposedReward:
    """The composed reward of a TOML file.

    Args:
        path: The file: tables `[rewards.NAME]` with `type`, `weight` and the settings of the type, and limits `[jail]`.
        python: Python for functions of other environments; None for the one that runs.

    Raises:
        RewardError: The file cannot be read, or a table is not valid; the message names the line (LG-E123).
    """
    path = Path(path)
    try:
        read = read_settings(path)
    except FileNotFoundError:
        raise RewardError(f"{path} does not exist: correct the path", "LG-E123") from None
    except InputError as error:
        raise RewardError(error.message, "LG-E123") from error
    try:
        file = RewardFile.model_validate(read.tree)
    except ValidationError as error:
        raise RewardError(_words(path, read, error), "LG-E123") from error
    for name in file.rewards:
        if not _NAME.fullmatch(name):
            raise RewardError(
                f"{_place(path, read, ('rewards', name))}: the name {name!r:.80} is not letters, digits, `_` and `-`",
                "LG-E123",
            )
    return ComposedReward(file, path.resolve().parent, python)


def _words(path: Path, read: Read, error: ValidationError) -> str:
    """The first problem: its place, its key and what is wrong."""
    detail: Any = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # The type of a part stands in the location as a name of its own: rewards, NAME, TYPE, field.
    location = [str(each) for place, each in enumerate(detail["loc"]) if place != 2 or detail["loc"][0] != "rewards"]
    match detail["type"]:
        case "extra_forbidden":
            message = "there is no such setting"
        case "union_tag_invalid":
            message = f"there is no such `type`; choose {', '.join(TYPES)}"
        case "union_tag_not_found":
            message = f"has no `type`; choose {', '.join(TYPES)}"
        case "missing":
            message = "is missing"
        case _:
            message = str(detail["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return f"{_place(path, read, tuple(location))}: `{'.'.join(location)}`: {message}; correct the file"


def _place(path: Path, read: Read, key: tuple[str, ...]) -> str:
    while key and key not in read.lines:
        key = key[:-1]
    return f"{path}:{read.lines[key]}" if key else str(path)
