"""Writes settings as TOML lines, each with its source as a comment."""

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from lazarus_core.settings.schema import Key, dotted, leaves
from lazarus_core.settings.sources import DEFAULT, Source

if TYPE_CHECKING:
    from lazarus_core.canonical import JSON


def settings_lines(settings: BaseModel, sources: Mapping[Key, Source], derived: Collection[Key] = ()) -> list[str]:
    """Settings as TOML, a line for each, with its source as a comment. A setting without a value is a comment.

    Args:
        settings: What `load` gave.
        sources: What `load` gave.
        derived: Keys of values that follow from other settings; they are comments, so that a file may leave them out.
    """
    rows = [
        (_assignment(key, value, key in derived), str(sources.get(key, DEFAULT))) for key, value in leaves(settings)
    ]
    width = min(60, max((len(row) for row, _ in rows), default=0))
    return [f"{row:<{width}}  # {source}" for row, source in rows]


def _assignment(key: Key, value: Any, is_derived: bool) -> str:
    text = f"{dotted(key)} = {'null' if value is None else _toml(value)}"
    return f"# {text}" if is_derived or value is None else text


def _toml(value: Any) -> str:
    match value:
        case bool() | str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return f"[{', '.join(map(_toml, cast('list[Any]', value)))}]"
        case dict():
            pairs = ", ".join(
                f"{_toml(name)} = {_toml(each)}" for name, each in cast("JSON", value).items() if each is not None
            )
            return f"{{{pairs}}}"
        case _:
            return repr(value)
