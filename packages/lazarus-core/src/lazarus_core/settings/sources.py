"""Where the value of a setting comes from, and errors that name that place."""

import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from lazarus_core.errors import InputError
from lazarus_core.settings.schema import Setting, dotted

UNKNOWN, UNFIT, CONTRADICTION, MALFORMED_SET = "LR-E181", "LR-E182", "LR-E183", "LR-E184"
Kind = Literal["default", "file", "profile", "set", "flag"]


_RANKS: dict[Kind, int] = {"default": 0, "file": 1, "profile": 2, "set": 3, "flag": 4}
_SHOWN_CHARS = 60


class Source(NamedTuple):
    """Where a setting comes from."""

    kind: Kind
    place: str = ""
    """`run.toml:7`, `--set optimizer.name`, or the flag."""

    @property
    def rank(self) -> int:
        """Higher ranks replace lower ones."""
        return _RANKS[self.kind]

    @property
    def is_named(self) -> bool:
        """Whether the setting was given by its key, in a file, a profile of it or `--set`."""
        return self.kind in ("file", "profile", "set")

    def __str__(self) -> str:
        return f"{self.kind} {self.place}" if self.kind in ("file", "profile", "flag") and self.place else self.kind


DEFAULT = Source("default")


class SettingsError(InputError):
    """Settings that cannot be used.

    Args:
        problems: One line for each, with its code.
    """

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__(*problems[-1])
        self.problems = tuple(problems)


def unfit(source: Source, setting: Setting, value: Any, wanted: str) -> str:
    """A message that a setting has an unfit value.

    Args:
        source: Where the value is from.
        setting: The setting.
        value: Its value, as given.
        wanted: What to give instead.
    """
    shown = short(json.dumps(value, ensure_ascii=False, default=str))
    return f"{source.place}: `{dotted(setting.key)}` is {shown}: give {wanted}"


def short(text: str) -> str:
    """The beginning of a long text, for a message."""
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
