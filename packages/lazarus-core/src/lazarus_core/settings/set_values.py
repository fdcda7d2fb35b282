"""Values of `--set NAME=VALUE`: texts that the type of the setting decides how to read."""

import contextlib
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from lazarus_core.settings.schema import Setting, members


def map_value(setting: Setting) -> Any:
    """The type of the values of a setting that is a map."""
    return next(get_args(part)[1] for part in members(setting.annotation) if get_origin(part) is dict)


def parsed(text: str, annotation: Any) -> Any:
    """A value of `--set` as the type of its setting asks for; what cannot be read stays a text and is refused by its type.

    Args:
        text: What follows the equals sign.
        annotation: Type of the setting.
    """
    if text.strip() == "null":
        return None
    parts = members(annotation)
    holds_many = any(get_origin(part) in (tuple, list, dict) or part is dict for part in parts)
    if (text.lstrip().startswith(("[", "{")) and holds_many) or text.lstrip().startswith(('"', "'")):
        return _from_toml(text)
    if any(part is str or part is Path or get_origin(part) is Literal for part in parts):
        return text
    if any(get_origin(part) in (tuple, list) for part in parts):
        inner = next(part for part in parts if get_origin(part) in (tuple, list)).__args__[0]
        return [parsed(each.strip(), inner) for each in text.split(",")] if text else []
    return _from_toml(text)


def _from_toml(text: str) -> Any:
    with contextlib.suppress(tomllib.TOMLDecodeError, ValueError, RecursionError):
        if "\n" not in text:
            return tomllib.loads(f"value = {text}")["value"]
    return text
