"""Messages of the library with commands in place of its functions, for command lines. The console names them as they are called.

A message names a function as `update_lock`, in backquotes. A call has none, since long quoted values are shortened:
update_lock(lock=LOCK).
"""

import re
from contextlib import AbstractContextManager

from lazarus_core.errors import reworded

_COMMANDS: dict[str, tuple[str, dict[str, str]]] = {
    "build_lengths": ("lazarus data lengths build", {"paths": "-d", "encoder": "-t", "output": "-o"}),
    "build_plan": ("lazarus data batchplan build", {}),
    "materialise": ("lazarus data batchplan materialise", {}),
    "rebase_plan": ("lazarus data batchplan rebase", {}),
    "review_lock": ("lazarus data batchplan ci", {}),
    "update_lock": ("lazarus data batchplan lock --update", {"lock": "-o", "caches": "-l"}),
    "write_lock": ("lazarus data batchplan lock", {}),
    "verify_plan": ("lazarus data batchplan verify", {"path": "-p", "caches": "-l", "rebuild": "--rebuild"}),
}
"""Command of each function, and options of its parameters."""

_WORD = re.compile(r"`(?:lazarus_tokenkit\.)?(?P<name>[a-z]\w*)`")
_CALL = re.compile(rf"\b(?P<name>{'|'.join(_COMMANDS)})\((?P<arguments>(?:[^()]|\([^()]*\))*)\)")


def name_commands(text: str) -> str:
    """Replaces functions in backquotes, and calls, by commands. Other words stay.

    >>> name_commands("call `update_lock`; `row_len` stays")
    'call `lazarus data batchplan lock --update`; `row_len` stays'
    >>> name_commands("renew it: update_lock(lock=a (old).lock, caches=LENGTHS)")
    'renew it: lazarus data batchplan lock --update -o a (old).lock -l LENGTHS'
    """
    return _CALL.sub(_command, _WORD.sub(_word, text))


def _word(found: re.Match[str]) -> str:
    name = found["name"]
    return f"`{_COMMANDS[name][0]}`" if name in _COMMANDS else found[0]


def _command(found: re.Match[str]) -> str:
    command, options = _COMMANDS[found["name"]]
    pairs = [pair.partition("=") for pair in re.split(r", (?=[a-z]+=)", found["arguments"]) if pair]
    if any(parameter not in options for parameter, _, _ in pairs):
        return found[0]
    given = [options[name] if value == "True" else f"{options[name]} {value}" for name, _, value in pairs]
    return " ".join([command, *given])


def errors_with_commands() -> AbstractContextManager[None]:
    """Context manager: errors of the library leave it with commands in place of functions; class and code stay."""
    return reworded(name_commands)
