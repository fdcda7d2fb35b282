"""Where a page comes from: the command line and the time, for its footer."""

import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from lazarus_core.printable import utf8_name

MAX_COMMAND = 1000
"""Maximum characters of a command line in a footer. Longer ones lose their middle."""


class Origin(NamedTuple):
    """Where a page comes from.

    Args:
        command: The command line that wrote it.
        time: When.
    """

    command: str
    time: datetime


def this_command() -> Origin:
    """The command line of this process, and the current time.

    The time is `SOURCE_DATE_EPOCH` (reproducible-builds.org) if that is a number of seconds, so that the same command writes
    the same bytes again.
    """
    program = Path(sys.argv[0])
    name = program.parent.name.replace("_", "-") if program.name == "__main__.py" else program.name
    name = {"lazarus-cli": "lazarus"}.get(name, name)
    command = shlex.join([name, *map(utf8_name, sys.argv[1:])])
    half = MAX_COMMAND // 2
    return Origin(command if len(command) <= MAX_COMMAND else f"{command[:half]} ... {command[-half:]}", _now())


def _now() -> datetime:
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    try:
        return datetime.fromtimestamp(int(given), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.now(UTC)
