"""Errors and findings of the library with commands and options in place of its functions and fields.

A message names a field as `row_len` and a function as `update_lock`, in backquotes. A call has none, since long quoted
values are shortened: update_lock(lock=LOCK).
"""

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any

from lazarus_core.errors import LazarusError

if TYPE_CHECKING:
    from lazarus_plan.findings import Finding

_FIELDS = {
    "align": "--align",
    "bucket_edges": "--bucket-edges",
    "epochs": "--epochs",
    "force": "--force",
    "oversize": "--oversize",
    "rebuild": "--rebuild",
    "repeats": "--repeats",
    "row_len": "--row-len",
    "seed": "--seed",
    "token_budget": "--token-budget",
    "window": "--window",
    "zero_length": "--zero-length",
    "recipe": "--tokenizer",
}
"""Option of each field and parameter."""
_COMMANDS: dict[str, tuple[str, dict[str, str]]] = {
    "build_lengths": ("lazarus data lengths build", {"paths": "-d", "encoder": "-t", "output": "-o"}),
    "build_plan": ("lazarus data batchplan build", {}),
    "materialise": ("lazarus-plan materialise", {}),
    "rebase_plan": ("lazarus-plan rebase", {}),
    "review_lock": ("lazarus-plan ci", {}),
    "update_lock": ("lazarus-plan lock --update", {"lock": "-o", "caches": "-l"}),
    "write_lock": ("lazarus-plan lock", {}),
    "verify_plan": ("lazarus-plan verify", {"path": "-p", "caches": "-l", "rebuild": "--rebuild"}),
}
"""Command of each function, and options of its parameters."""


_WORD = re.compile(r"`(?:lazarus_tokenkit\.)?(?P<name>[a-z]\w*)`")
_CALL = re.compile(rf"\b(?P<name>{'|'.join(_COMMANDS)})\((?P<arguments>(?:[^()]|\([^()]*\))*)\)")


def name_options(text: str) -> str:
    """Replaces functions and fields in backquotes, and calls, by commands and options. Other words stay.

    >>> name_options("raise `row_len`, or call `update_lock`; `stats` stay")
    'raise --row-len, or call `lazarus-plan lock --update`; `stats` stay'
    >>> name_options("renew it: update_lock(lock=a (old).lock, caches=LENGTHS)")
    'renew it: lazarus-plan lock --update -o a (old).lock -l LENGTHS'
    """
    return _CALL.sub(_command, _WORD.sub(_word, text))


def _word(found: re.Match[str]) -> str:
    name = found["name"]
    return f"`{_COMMANDS[name][0]}`" if name in _COMMANDS else _FIELDS.get(name, found[0])


def _command(found: re.Match[str]) -> str:
    command, options = _COMMANDS[found["name"]]
    pairs = [pair.partition("=") for pair in re.split(r", (?=[a-z]+=)", found["arguments"]) if pair]
    if any(parameter not in options for parameter, _, _ in pairs):
        return found[0]
    given = [options[name] if value == "True" else f"{options[name]} {value}" for name, _, value in pairs]
    return " ".join([command, *given])


def finding_with_options(finding: "Finding") -> "Finding":
    """The same finding with commands and options in its message."""
    return replace(finding, message=name_options(finding.message))


@contextmanager
def errors_with_options() -> Generator[None]:
    """Context manager: errors of the library leave it with commands and options; class and code stay."""
    try:
        yield
    except LazarusError as error:
        error.args = (name_options(error.message),)
        raise


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose errors name commands and options."""

    @wraps(command)
    def run(*args: Any, **given: Any) -> None:
        with errors_with_options():
            command(*args, **given)

    return run
