"""The edge to the terminal, shared by every Lazarus command: errors, signals, versions, progress, tables.

Exit codes: 0 done, 1 the check said no, 2 bad input or usage or a refusal of the system, and for a signal 128 and its
number: 129 SIGHUP, 130 Ctrl-C, 143 SIGTERM, 141 when the reader of stdout has left (`| head`), as for other tools.

Nothing here loads typer, rich, numpy or pydantic before it is needed, so that `--help` answers at once and Ctrl-C is
understood from the first moment.
"""

import codecs
import contextlib
import errno
import io
import locale
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Generator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lazarus_core.errors import InputError, LazarusError
from lazarus_core.printable import printable, printable_line, utf8_name

if TYPE_CHECKING:
    from rich.console import Console

LINE_EVERY_S = 60.0
"""Without a terminal, progress is one line a minute: enough for a log, too little to fill it."""
INTERRUPTED, TERMINATED, HUNG_UP = 128 + signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGHUP
READER_LEFT = 128 + signal.SIGPIPE
"""Exit codes of a program that a signal ended, as shells give them."""
NOTHING_HALF = "files appear whole or not at all, and the same command starts again"


def run(app: Callable[..., Any] | str, name: str) -> None:
    """Runs a command line to its exit code.

    An expected failure is one line on stderr and the error's exit code (1 the check said no, 2 bad input or usage);
    a command line that cannot be read is one line and 2, Ctrl-C one line and 130, SIGTERM one line and 143. A traceback
    means a bug.

    Args:
        app: A typer application, or where it is, as `package.module:app`: so Ctrl-C is understood while that is imported.
        name: Of the command, for messages.
    """
    _use_utf8()
    _open_closed_streams()
    _write_any_text()
    with _one_line_endings(name):
        _log_as_words()
        if isinstance(app, str):
            module, _, attribute = app.partition(":")
            app = getattr(import_module(module), attribute)
        assert callable(app), f"{app} is a command line"
        code = app(standalone_mode=False)
        if code == INTERRUPTED:  # typer makes an exit of Ctrl-C
            raise KeyboardInterrupt
        flush_results()
        raise SystemExit(code if isinstance(code, int) else 0)


def _use_utf8() -> None:
    """Starts again in Python's UTF-8 mode where the locale is another: names and texts are the same bytes everywhere."""
    if not sys.flags.utf8_mode and codecs.lookup(locale.getencoding()).name != "utf-8":
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {"PYTHONUTF8": "1"})


def _open_closed_streams() -> None:
    """What a shell closed (`>&-`) leads nowhere: else the next file to be opened would get the words meant for it.

    Its number 0 is taken too: MLX takes a file of that number for one that could not be opened.
    """
    stdin: Any = sys.stdin
    if stdin is None:
        os.open(os.devnull, os.O_RDONLY)  # until the end; `sys.stdin` stays None, so that commands can say so
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 # open until the end


def _write_any_text() -> None:
    """Output that has no form in the terminal's encoding is escaped: no name or text of a user's ends a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _log_as_words() -> None:
    """Warnings of the libraries are printed as other words are: in one line, with control characters shown."""
    import logging

    class Words(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(self.format(record))

    logging.lastResort = Words(logging.WARNING)


@contextlib.contextmanager
def _one_line_endings(name: str) -> Generator[None]:
    previous = {number: signal.signal(number, _end_by_signal) for number in _handled_signals()}
    try:
        yield
    except LazarusError as error:
        say(f"error: {error.message} [{error.code}]")
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt:
        say(f"{name}: stopped by Ctrl-C; {NOTHING_HALF}")
        raise SystemExit(INTERRUPTED) from None
    except SystemExit as error:
        if error.code in (TERMINATED, HUNG_UP):
            say(f"{name}: stopped by {'SIGTERM' if error.code == TERMINATED else 'SIGHUP'}; {NOTHING_HALF}")
        elif type(sys.stdout).__name__ == "PacifyFlushWrapper":  # what click makes of a reader that left during --help
            raise SystemExit(READER_LEFT) from None
        raise
    except Exception as error:
        words = _refusal(error) or (_usage_line(error, name) if _is_usage(error) else None)
        if words is None:
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            _write_words(words)  # the help, which has lines
        else:
            say(words if _is_usage(error) else f"error: {words} [{name}]")
        raise SystemExit(2) from error
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _handled_signals() -> list[signal.Signals]:
    """SIGTERM, and SIGHUP where nobody has it ignored, as `nohup` does."""
    is_watched = signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    return [signal.SIGTERM, signal.SIGHUP] if is_watched else [signal.SIGTERM]


def _end_by_signal(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _refusal(error: Exception) -> str | None:
    """What the system refuses, in words: the user's to mend, not a bug of ours. None for anything else.

    Disk, rights, memory, limits of processes and files, names in other encodings.
    """
    text = str(error)
    match error:
        case OSError(filename=None, errno=errno.ENOENT) if not _has_current_folder():
            return "the current directory does not exist any more: change to another"
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return f"{where}{error.strerror or error}"
        case MemoryError():
            return (
                f"not enough memory{f': {text}' if text else ''}; close other programs, or raise the limit (ulimit -v)"
            )
        case ImportError() if any(words in text for words in _NO_ROOM):
            return f"not enough memory or files to load a library: {text}; raise the limit (ulimit -v, ulimit -n)"
        case RuntimeError() if any(words in text for words in _NO_ROOM):
            return f"not enough memory, threads or disk: {text}"
        case UnicodeEncodeError() if found := _NOT_UTF8.search(error.object):
            return f"a name is not UTF-8: `{utf8_name(found[0])}`; rename the file"
        case _:
            return None


_NOT_UTF8 = re.compile(r"[^\s\"'/]*[\udc80-\udcff][^\s\"'/]*")
"""A part of a path with bytes that are no UTF-8, as the system's names hold them."""
_NO_ROOM = (
    "failed to map segment",  # the dynamic loader
    "annot allocate memory",
    "Too many open files",
    "can't start new thread",
    "nable to allocate",  # MLX
    "bad_alloc",
    "Resource temporarily unavailable",
    "No space left",
)
"""Words by which libraries that raise no MemoryError or OSError say that the system refuses."""


def _has_current_folder() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _is_usage(error: Exception) -> bool:
    """Whether its parser did not understand the command line; the class of this moved between typer's versions."""
    typer = sys.modules.get("typer")
    return typer is not None and isinstance(error, typer.BadParameter.__base__)


def _usage_line(error: Any, name: str) -> str:
    """What was wrong and where to read more; the help itself, where a group was called without a command."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return str(error)
    words = " ".join(error.format_message().split()).replace("Value error, ", "").removesuffix(".")
    see = f"; see {error.ctx.command_path} --help" if error.ctx else ""
    return f"error: {words}{see} [{name}]"


def say(line: str) -> None:
    """Writes one line of words to stderr; stdout is for results. Line breaks and control characters are escaped."""
    _write_words(printable_line(line))


def _write_words(text: str) -> None:
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except OSError:  # nobody reads the words: no reason to end
        _discard(sys.stderr)


def show(text: str) -> None:
    """Writes a result to stdout. Control characters are escaped; lines and tabs stay."""
    write(text + "\n")


def show_line(text: str) -> None:
    """Writes a result of one line to stdout, whatever its names and values hold."""
    write(printable_line(text) + "\n")


def write(piece: str) -> None:
    """Writes a piece of a result to stdout, as `show` does, without ending the line.

    Raises:
        SystemExit: With `READER_LEFT`, when nobody reads it any more.
    """
    with _results():
        sys.stdout.write(printable(piece))


def flush_results() -> None:
    """Hands on what was written to stdout.

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
    """Leads a stream nowhere, so that the interpreter's last flush of it does not fail again."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def read_stdin() -> bytes:
    """All of standard input.

    Raises:
        InputError: The shell closed it.
    """
    stream: Any = sys.stdin  # None where it is closed
    if stream is None:
        raise InputError("stdin is closed: name a file instead", "LP-E009")
    return stream.buffer.read()


def version_option(distribution: str) -> Any:
    """The `--version` option of a package's root callback."""
    import typer

    def print_version(wanted: bool) -> None:
        if wanted:
            from importlib.metadata import version

            show(f"{distribution} {version(distribution)}")
            raise typer.Exit

    return typer.Option("--version", callback=print_version, is_eager=True, help="Show the version and exit.")


def stderr_console() -> "Console":
    """A rich console on stderr."""
    from rich.console import Console

    return Console(stderr=True)


@contextlib.contextmanager
def progress(title: str, *, total: int | None, unit: str) -> Generator[Callable[..., None]]:
    """Shows how far long work is: a bar when stderr is a terminal, else one line a minute.

    Yields:
        `advance(n=1, note="", total=None)`: adds `n` units; `note` stands behind the bar (a loss, a rate); `total`
        says how many there are, where that was not known at the start.
    """
    title = printable_line(title)
    if not sys.stderr.isatty():
        yield _line_a_minute(title, total, unit)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=stderr_console()) as bar:
        task = bar.add_task(title, total=total, note="")

        def advance(n: int = 1, note: str = "", total: int | None = None) -> None:
            bar.update(task, advance=n, note=printable_line(note))
            if total is not None:
                bar.update(task, total=total)

        yield advance


def _line_a_minute(title: str, expected: int | None, unit: str) -> Callable[..., None]:
    start = last = time.monotonic()
    done = 0

    def advance(n: int = 1, note: str = "", total: int | None = None) -> None:
        nonlocal done, last, expected
        done += n
        expected = total or expected
        now = time.monotonic()
        if now - last >= LINE_EVERY_S:
            last = now
            of = f"/{expected}" if expected is not None else ""
            eta = f", {(now - start) * (expected - done) / done:.0f} s left" if expected and done else ""
            say(f"{title}: {done}{of} {unit}{eta}{f', {note}' if note else ''}")

    return advance
