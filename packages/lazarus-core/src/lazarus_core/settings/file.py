"""Reads files of settings: TOML, or a JSON object."""

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from lazarus_core.bounded import read_bytes
from lazarus_core.canonical import JSON
from lazarus_core.errors import InputError
from lazarus_core.settings.schema import Key
from lazarus_core.settings.toml_lines import key_lines
from lazarus_core.strict_json import BOM, parse_object

MAX_SETTINGS_BYTES = 4 << 20
"""Of a file of settings. The longest are records of runs, a few kilobytes."""
UNREADABLE = "LR-E180"


class Read(NamedTuple):
    """What a file of settings holds."""

    tree: JSON
    folder: Path
    """Where its relative paths begin."""
    lines: Mapping[Key, int]
    """1-based line of each key, where it is known."""


Unwrap = Callable[[Read], Read]
"""Takes the settings out of a file that holds more, such as the record of a run."""


def read_settings(path: Path) -> Read:
    """The content of a file of settings: TOML if its name ends with `.toml`, else a JSON object.

    Raises:
        InputError: It cannot be read, or it is no TOML or JSON; the message names line and column.
        OSError: The system refuses.
    """
    content = read_bytes(path, MAX_SETTINGS_BYTES).removeprefix(BOM)
    if path.suffix.lower() != ".toml":
        return Read(parse_object(content, str(path)), path.parent, {})
    try:
        text = content.decode()
        tree = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8; convert the file", UNREADABLE) from error
    except RecursionError as error:
        raise InputError(f"{path}: nested too deeply", UNREADABLE) from error
    except (tomllib.TOMLDecodeError, ValueError) as error:
        words, _, at = str(error).partition(" (at ")
        place = "".join(f":{number}" for number in re.findall(r"\d+", at)[:2])
        raise InputError(f"{path}{place}: not TOML: {words[:1].lower()}{words[1:]}", UNREADABLE) from error
    return Read(tree, path.parent, key_lines(text))
