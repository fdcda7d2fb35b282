"""What commands print: results on stdout, information and warnings on stderr."""

import contextlib
import os
import re
import signal
import sys
from collections.abc import Collection, Generator
from typing import Any

from lazarus_core.command_names import as_called
from lazarus_core.console.color import Style, has_color, styled
from lazarus_core.errors import InputError
from lazarus_core.printable import printable, printable_line

READER_LEFT = 128 + signal.SIGPIPE
"""Exit code when the reader of stdout ended, as shells report it."""


def say(line: str) -> None:
    """Print one line of information on stderr, unless `--quiet` was given; stdout is for results.

    Line breaks and control characters are escaped.
    """
    if not _is_quiet:
        write_words(printable_line(as_called(line)))


def warn(line: str) -> None:
    """Print one line on stderr that `--quiet` does not hide: an error, a warning, or why the exit code is not 0."""
    words = printable_line(as_called(line))
    kind, colon, rest = words.partition(":")
    style: Style | None = "error" if kind == "error" else "warning" if kind == "warning" else None
    if style is not None and has_color(sys.stderr):
        words = styled(kind + colon, style) + rest
    write_words(words)


_is_quiet = False


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Context manager: `say` and `progress` print nothing."""
    global _is_quiet
    before, _is_quiet = _is_quiet, True
    try:
        yield
    finally:
        _is_quiet = before


def is_quiet() -> bool:
    """Whether `say` and `progress` print nothing."""
    return _is_quiet


def write_words(text: str) -> None:
    """Print a text on stderr as it is. A closed stderr is no error."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except OSError:  # stderr is closed: the message is lost, the command goes on
        _discard(sys.stderr)


def show(text: str) -> None:
    """Print a result on stdout. Control characters are escaped; line breaks and tabs stay."""
    write(text + "\n")


def show_table(text: str, heads: Collection[str] | None = None) -> None:
    """Print tables on stdout as `show`; their heads are bold where stdout has colour.

    Args:
        text: One table, or several and other text.
        heads: Lines that name columns or a table; None takes the first line that is not empty.
    """
    lines = printable(text).split("\n")
    found = [next((line for line in lines if line), "")] if heads is None else list(map(printable, heads))
    with _results():
        if has_color(sys.stdout):
            for head in found:
                if head in lines:
                    place = lines.index(head)
                    lines[place] = styled(head, "bold")
        sys.stdout.write("\n".join(lines) + "\n")


def show_colored(text: str) -> None:
    """Print a result on stdout as `show`; colours (Select Graphic Rendition) stay where stdout has colour."""
    pieces = re.split(r"(\x1b\[[0-9;]*m)", text)
    kept = pieces[1::2] if has_color(sys.stdout) else [""] * len(pieces[1::2])
    found = [printable(each) for each in pieces[::2]]
    with _results():
        sys.stdout.write("".join(map("".join, zip(found, [*kept, ""], strict=True))) + "\n")


def show_line(text: str) -> None:
    """Print a result as one line on stdout. Line breaks in names and values are escaped."""
    write(printable_line(text) + "\n")


def write(piece: str) -> None:
    """Print a piece of a result on stdout without a line break, otherwise as `show`.

    Raises:
        SystemExit: With `READER_LEFT`, when nobody reads it any more.
    """
    with _results():
        sys.stdout.write(printable(piece))


def flush_results() -> None:
    """Flush stdout.

    Raises:
        SystemExit: With `READER_LEFT`, when nobody reads it any more.
        OSError: It cannot be written, as on a full disk; its `filename` is `stdout`.
    """
    with _results():
        sys.stdout.flush()


@contextlib.contextmanager
def _results() -> Generator[None]:
    try:
        yield
    except BrokenPipeError:
        _discard(sys.stdout)
        raise SystemExit(READER_LEFT) from None
    except OSError as error:
        _discard(sys.stdout)
        error.filename = "stdout"
        raise


def _discard(stream: Any) -> None:
    """Redirect a stream to the null device, so that the interpreter's last flush does not fail again."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def read_stdin() -> bytes:
    """Read all of standard input.

    Raises:
        InputError: The shell closed it.
    """
    stream: Any = sys.stdin  # None where it is closed
    if stream is None:
        raise InputError("stdin is closed: name a file instead", "LP-E009")
    return stream.buffer.read()
