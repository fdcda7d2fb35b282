"""Errors and findings of the library with commands and options in place of its functions and fields."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any

from lazarus_core.command_names import as_called
from lazarus_core.errors import reworded
from lazarus_plan.command_names import name_commands

if TYPE_CHECKING:
    from lazarus_plan.findings import Finding

_FIELDS = {
    "align": "--align",
    "bucket_edges": "--bucket-edges",
    "epochs": "--epochs",
    "force": "--force",
    "oversize": "--oversize",
    "parent": "--parent",
    "rebuild": "--rebuild",
    "repeats": "--repeats",
    "row_len": "--row-len",
    "seed": "--seed",
    "steps": "--step",
    "token_budget": "--token-budget",
    "window": "--window",
    "world_size": "--world",
    "resume_world_size": "--resume-world",
    "zero_length": "--zero-length",
    "recipe": "--tokenizer",
}
"""Option of each field and parameter."""

OF_A_FILE = "LP-E003"
"""Code of errors that name members of a user's file, which can have the names of fields."""
_WORD = re.compile(r"`([a-z]\w*)`")


def name_options(text: str) -> str:
    """Replaces functions and fields in backquotes, and calls, by commands and options. Other words stay.

    >>> name_options("raise `row_len`, or call `update_lock`; `stats` stay")
    'raise --row-len, or call `lazarus data batchplan lock --update`; `stats` stay'
    """
    return name_commands(_WORD.sub(lambda found: _FIELDS.get(found[1], found[0]), text))


def finding_with_options(finding: "Finding") -> "Finding":
    """The same finding with options in its message, and with commands as they can be called."""
    return replace(finding, message=as_called(name_options(finding.message)))


def errors_with_options() -> AbstractContextManager[None]:
    """Context manager: errors of the library leave it with commands and options; class and code stay."""
    return reworded(name_options, keeps=(OF_A_FILE,))


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose errors name commands and options."""

    @wraps(command)
    def run(*args: Any, **given: Any) -> None:
        with errors_with_options():
            command(*args, **given)

    return run
