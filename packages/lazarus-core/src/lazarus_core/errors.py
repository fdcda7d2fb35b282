"""The base of every error that a Lazarus command ends with.

LazarusError          every expected failure of every Lazarus package; each package derives its own
├── InputError        a file, text or stream from outside cannot be read       exit 2, LP-E003, E006, E009, E011..E013
└── OutputTaken       an output would replace something else                   exit 2, LP-E010 or the command's own code

Every error has a stable `code` and the exit code that the command ends with.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from lazarus_core.printable import printable_line

MESSAGE_CHARS = 2000
"""Maximum length of a message. Longer ones lose their middle, such as those with file names of megabytes."""


class LazarusError(Exception):
    """An expected failure: one line for a person, a stable code for a program.

    Args:
        message: What, where and the way out, in one line.
        code: Stable identifier, such as `LP-E107`.
    """

    exit_code = 2

    def __init__(self, message: str, code: str) -> None:
        super().__init__(_shortened(printable_line(message)))
        self.code = code

    @property
    def message(self) -> str:
        """The line for a person, without the code."""
        return str(self.args[0])


class InputError(LazarusError):
    """A file, text or stream from outside cannot be read; the message names the place."""


class OutputTaken(LazarusError):
    """An output would replace what its command did not write; nothing was changed."""


@contextmanager
def reworded(reword: Callable[[str], str], *, keeps: tuple[str, ...] = ()) -> Generator[None]:
    """Context manager: errors leave it with another message; class and code stay.

    Args:
        reword: Message to message, such as fields to options of a command line.
        keeps: Codes, or their beginnings, whose messages stay as they are: they name members of a user's file.
    """
    try:
        yield
    except LazarusError as error:
        if not error.code.startswith(keeps):
            error.args = (reword(error.message),)
        raise


def _shortened(message: str) -> str:
    half = MESSAGE_CHARS // 2 - 50
    if len(message) <= MESSAGE_CHARS:
        return message
    return f"{message[:half]} ... ({len(message) - 2 * half:,} characters left out) ... {message[-half:]}"
