"""A command as a process: its streams, its signals, and how each error ends it."""

import contextlib
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Generator
from importlib import import_module
from typing import Any

from lazarus_core.command_names import set_script
from lazarus_core.console.color import has_color, plain
from lazarus_core.console.output import READER_LEFT, flush_results, show, warn, write_words
from lazarus_core.console.system_errors import refusal, system_code
from lazarus_core.errors import LazarusError
from lazarus_core.reasons import plain_reason

INTERRUPTED, TERMINATED, HUNG_UP = 128 + signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGHUP
"""Exit codes after a signal, as shells report them."""
_OWN_FIELD = re.compile("`force`")
"""The field of `lazarus_core.outputs` in messages. `cli_options.Force` is its option."""
NOTHING_HALF = "files appear whole or not at all, and the same command starts again"


def run(app: Callable[..., Any] | str, name: str) -> None:
    """Run a command and end the process with its exit code.

    An expected failure prints one line on stderr and ends with the error's exit code. A usage error prints one line and
    ends with 2, Ctrl-C with 130, SIGTERM with 143. A traceback means a bug.

    Args:
        app: A typer application, or its import path `package.module:app`. With a path, Ctrl-C works during the import.
        name: Name of the command, for messages.
    """
    _open_closed_streams()
    _write_any_text()
    set_script(name)
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


def _open_closed_streams() -> None:
    """Open the null device for streams that the shell closed (`>&-`).

    Otherwise the next opened file would get the descriptor, and with it the output. Descriptor 0 is occupied too: MLX
    takes a file with that number for one that could not be opened.
    """
    stdin: Any = sys.stdin
    if stdin is None:
        os.open(os.devnull, os.O_RDONLY)  # until the end; `sys.stdin` stays None, so that commands can say so
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 # open until the end


def _write_any_text() -> None:
    """Write UTF-8 in every locale, unless `PYTHONIOENCODING` asks for another encoding; escape what it cannot express."""
    encoding = None if os.environ.get("PYTHONIOENCODING") else "utf-8"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def _log_as_words() -> None:
    """Print warnings of libraries like other messages: on one line, with control characters escaped."""
    import logging

    class Words(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warn(self.format(record))

    logging.lastResort = Words(logging.WARNING)


@contextlib.contextmanager
def _one_line_endings(name: str) -> Generator[None]:
    previous = {number: signal.signal(number, _end_by_signal) for number in _handled_signals()}
    stdout = sys.stdout
    try:
        yield
    except LazarusError as error:
        warn(f"error: {_OWN_FIELD.sub('`--force`', error.message)} [{error.code}]")
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt:
        warn(f"{name}: stopped by Ctrl-C; {NOTHING_HALF}")
        raise SystemExit(INTERRUPTED) from None
    except SystemExit as error:
        if error.code in (TERMINATED, HUNG_UP):
            warn(f"{name}: stopped by {'SIGTERM' if error.code == TERMINATED else 'SIGHUP'}; {NOTHING_HALF}")
        elif sys.stdout is not stdout:  # click wraps it where the reader left during --help, and exits with 1
            raise SystemExit(READER_LEFT) from None
        raise
    except Exception as error:
        words = refusal(error) or (_usage_line(error, name) if _is_usage(error) else None)
        if words is None:
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            write_words(words if has_color(sys.stderr) else plain(words))  # the help, which has lines
        else:
            warn(words if _is_usage(error) else f"error: {words} [{system_code(error)}]")
        raise SystemExit(2) from error
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _handled_signals() -> list[signal.Signals]:
    """SIGTERM, and SIGHUP unless it is ignored, as under `nohup`."""
    is_watched = signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    return [signal.SIGTERM, signal.SIGHUP] if is_watched else [signal.SIGTERM]


def _end_by_signal(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _is_usage(error: Exception) -> bool:
    """Whether this is a usage error of the command line. Typer moved the class between versions."""
    typer = sys.modules.get("typer")
    return typer is not None and isinstance(error, typer.BadParameter.__base__)


def _usage_line(error: Any, name: str) -> str:
    """The usage error and the command that shows help; for a group without a command, the help itself."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return str(error)
    words = plain_reason(" ".join(error.format_message().split())).removesuffix(".")
    see = f"{' See' if words.endswith('?') else '; see'} {error.ctx.command_path} --help" if error.ctx else ""
    return f"error: {words}{see} [{name}]"


def version_option(distribution: str) -> Any:
    """The `--version` option of a package's root callback."""
    import typer

    def print_version(wanted: bool) -> None:
        if wanted:
            from importlib.metadata import version

            show(f"{distribution} {version(distribution)}")
            raise typer.Exit

    return typer.Option("-V", "--version", callback=print_version, is_eager=True, help="Show the version and exit.")
