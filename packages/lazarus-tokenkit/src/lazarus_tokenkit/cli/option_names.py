"""Translates the field and function names of library errors to command-line options."""

import functools
from collections.abc import Callable
from typing import Any

HINTS = {
    "LT-E208": "the option is --date",
    "LT-E301": "the options are --text-field, --messages-field, --prompt-field and --completion-field",
    "LT-E310": "the options are --prompt-field and --completion-field, --text-field or --messages-field",
    "LT-E317": "the option is --completion-field",
    "LT-E402": "`fingerprint --save` writes such a file",
}
"""Error code to the options that solve the problem. The library's message names fields and functions only."""


def with_option_names(command: Callable[..., None]) -> Callable[..., None]:
    """Wraps a command: an error with a code in `HINTS` also names the options."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        from lazarus_tokenkit.errors import TokenkitError

        try:
            command(*args, **kwargs)
        except TokenkitError as error:
            if error.code not in HINTS:
                raise
            raise type(error)(f"{error.message} ({HINTS[error.code]})", error.code) from error

    return run
