"""The edge to the terminal, shared by every Lazarus command: errors, signals, versions, progress, tables.

Nothing here loads typer, rich, numpy or pydantic before it is needed, so that `--help` answers at once and Ctrl-C is
understood from the first moment.
"""

import codecs
import contextlib
import io
import locale
import os
import signal
import sys
import time
from collections.abc import Callable, Generator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lazarus_plan.errors import LazarusError

if TYPE_CHECKING:
    from rich.console import Console

LINE_EVERY_S = 60.0
"""Without a terminal, progress is one line a minute: enough for a log, too little to fill it."""
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
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
        if isinstance(app, str):
            module, _, attribute = app.partition(":")
            app = getattr(import_module(module), attribute)
        assert callable(app), f"{app} is a command line"
        code = app(standalone_mode=False)
        if code == INTERRUPTED:  # typer makes an exit of Ctrl-C
            raise KeyboardInterrupt
        raise SystemExit(code if isinstance(code, int) else 0)


def _use_utf8() -> None:
    """Starts again in Python's UTF-8 mode where the locale is another: names and texts are the same bytes everywhere."""
    if not sys.flags.utf8_mode and codecs.lookup(locale.getencoding()).name != "utf-8":
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {"PYTHONUTF8": "1"})


def _open_closed_streams() -> None:
    """What a shell closed (`>&-`) leads nowhere: else the next file to be opened would get the words meant for it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 # open until the end


def _write_any_text() -> None:
    """Output that has no form in the terminal's encoding is escaped: no name or text of a user's ends a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _one_line_endings(name: str) -> Generator[None]:
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except LazarusError as error:
        say(f"error: {error.message} [{error.code}]")
        raise SystemExit(error.exit_code) from error
    except OSError as error:
        # What the system refuses (a folder that is read-only, a full disk) is the user's to mend, not a bug of ours.
        where = f"{error.filename}: " if error.filename else ""
        say(f"error: {where}{error.strerror or error} [{name}]")
        raise SystemExit(2) from error
    except KeyboardInterrupt:
        say(f"{name}: stopped by Ctrl-C; {NOTHING_HALF}")
        raise SystemExit(INTERRUPTED) from None
    except SystemExit as error:
        if error.code == TERMINATED:
            say(f"{name}: stopped by SIGTERM; {NOTHING_HALF}")
        raise
    except Exception as error:
        if not _is_usage(error):
            raise
        say(_usage_line(error, name))
        raise SystemExit(2) from error
    finally:
        signal.signal(signal.SIGTERM, previous)


def _terminate(*_: object) -> None:
    raise SystemExit(TERMINATED)


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
    """Writes one line of words to stderr; stdout is for results."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def show(text: str) -> None:
    """Writes a result to stdout."""
    sys.stdout.write(text + "\n")


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
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=stderr_console()) as bar:
        task = bar.add_task(title, total=total, note="")

        def advance(n: int = 1, note: str = "", total: int | None = None) -> None:
            bar.update(task, advance=n, note=note)
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
