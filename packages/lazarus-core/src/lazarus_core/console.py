"""The terminal interface of every Lazarus command: errors, signals, versions, progress, output.

Exit codes: 0 success, 1 a check failed, 2 bad input, bad usage or an error of the operating system. A signal gives 128
plus its number: 129 SIGHUP, 130 Ctrl-C, 143 SIGTERM, 141 when the reader of stdout ended (`| head`).

This module imports typer, numpy and pydantic only when they are needed, so that `--help` is fast and Ctrl-C works from
the start.
"""

import contextlib
import errno
import io
import itertools
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Generator
from importlib import import_module
from pathlib import Path
from typing import Any

from lazarus_core.color import Style, has_color, plain, styled
from lazarus_core.command_names import as_called, set_script
from lazarus_core.errors import InputError, LazarusError
from lazarus_core.printable import printable, printable_line, utf8_name
from lazarus_core.reasons import plain_reason

LINE_EVERY_S = 10.0
"""Seconds between progress lines when stderr is not a terminal."""
INTERRUPTED, TERMINATED, HUNG_UP = 128 + signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGHUP
READER_LEFT = 128 + signal.SIGPIPE
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
        elif type(sys.stdout).__name__ == "PacifyFlushWrapper":  # what click makes of a reader that left during --help
            raise SystemExit(READER_LEFT) from None
        raise
    except Exception as error:
        words = _refusal(error) or (_usage_line(error, name) if _is_usage(error) else None)
        if words is None:
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            _write_words(words if has_color(sys.stderr) else plain(words))  # the help, which has lines
        else:
            warn(words if _is_usage(error) else f"error: {words} [{_system_code(error)}]")
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


def _refusal(error: Exception) -> str | None:
    """Message for an error of the operating system that the user can mend, or None for any other exception.

    Covered: disk, permissions, memory, limits of processes and files, file names in other encodings.
    """
    text = str(error)
    match error:
        case OSError(filename=None, errno=errno.ENOENT) if not _has_current_folder():
            return "the current directory does not exist any more: change to another"
        case OSError():
            return system_words(error)
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


def system_words(error: OSError) -> str:
    """An error of the operating system as a line: the file, what is wrong, the way out.

    >>> system_words(FileNotFoundError(errno.ENOENT, "No such file or directory", "rows.jsonl"))
    'rows.jsonl does not exist: correct the path'
    """
    name = str(error.filename or "")
    if error.errno == errno.EEXIST and name:
        return f"{_as_given(name)} is a file: choose a path that does not lie below it"
    words = _SYSTEM_WORDS.get(error.errno or 0)
    if words is None or not name:
        return f"{_as_given(name)}: {error.strerror or error}" if name else f"{error.strerror or error}"
    return f"{_as_given(name)}{words}"


def _as_given(name: str) -> str:
    """A path below the current folder without that folder's name, as people write it."""
    try:
        return str(Path(name).relative_to(Path.cwd())) if Path(name).is_absolute() else name
    except (ValueError, OSError):
        return name


_SYSTEM_WORDS = {
    errno.ENOENT: " does not exist: correct the path",
    errno.ENOTDIR: ": a part of the path is a file, not a folder: correct the path",
    errno.EISDIR: " is a folder: give the name of a file",
    errno.ENAMETOOLONG: ": the name is too long: choose a shorter one",
    errno.EACCES: ": permission denied: change its permissions, or choose another path",
    errno.EPERM: ": permission denied: change its permissions, or choose another path",
    errno.EROFS: ": the file system can only be read: choose another path",
    errno.ENOSPC: ": no space left on the device: delete something, or choose another path",
    errno.EDQUOT: ": the disk quota is used up: delete something, or choose another path",
}
"""Words for numbers of errors of files, which follow the name of the file."""
_NOT_UTF8 = re.compile(r"[^\s\"'/]*[\udc80-\udcff][^\s\"'/]*")
"""A part of a path with bytes that are not UTF-8 (surrogates)."""
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
"""Texts of resource errors in libraries that raise neither MemoryError nor OSError."""


def _system_code(error: Exception) -> str:
    is_missing = isinstance(error, FileNotFoundError) and error.filename
    return "LP-E220" if is_missing else "LP-E221" if isinstance(error, OSError | UnicodeError) else "LP-E222"


def _has_current_folder() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


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


def say(line: str) -> None:
    """Print one line of information on stderr, unless `--quiet` was given; stdout is for results.

    Line breaks and control characters are escaped.
    """
    if not _is_quiet:
        _write_words(printable_line(as_called(line)))


def warn(line: str) -> None:
    """Print one line on stderr that `--quiet` does not hide: an error, a warning, or why the exit code is not 0."""
    words = printable_line(as_called(line))
    kind, colon, rest = words.partition(":")
    style: Style | None = "error" if kind == "error" else "warning" if kind == "warning" else None
    if style is not None and has_color(sys.stderr):
        words = styled(kind + colon, style) + rest
    _write_words(words)


_is_quiet = False
"""Whether `say` and `progress` print nothing."""


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Context manager: `say` and `progress` print nothing."""
    global _is_quiet
    before, _is_quiet = _is_quiet, True
    try:
        yield
    finally:
        _is_quiet = before


def _write_words(text: str) -> None:
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except OSError:  # nobody reads the words: no reason to end
        _discard(sys.stderr)


def show(text: str) -> None:
    """Print a result on stdout. Control characters are escaped; line breaks and tabs stay."""
    write(text + "\n")


def show_table(text: str) -> None:
    """Print a table on stdout as `show`; its first line, the head, is bold where stdout has colour."""
    head, line_break, rest = printable(text).partition("\n")
    with _results():
        sys.stdout.write((styled(head, "bold") if has_color(sys.stdout) else head) + line_break + rest + "\n")


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


def version_option(distribution: str) -> Any:
    """The `--version` option of a package's root callback."""
    import typer

    def print_version(wanted: bool) -> None:
        if wanted:
            from importlib.metadata import version

            show(f"{distribution} {version(distribution)}")
            raise typer.Exit

    return typer.Option("-V", "--version", callback=print_version, is_eager=True, help="Show the version and exit.")


@contextlib.contextmanager
def progress(title: str, *, total: int | None, unit: str, done: int = 0) -> Generator[Callable[..., None]]:
    """Show the progress of long work: a bar if stderr is a terminal, else one line every ten seconds.

    Args:
        title: Printed before the bar.
        total: Number of units, or None if it is not known yet.
        unit: Name of the units, such as "rows".
        done: Units of an earlier run; the remaining time does not count them.

    Yields:
        `advance(n=1, note="", total=None)`: adds `n` units; `note` is printed after the bar (a loss, a rate); `total`
        sets the number of units.
    """
    title = printable_line(title)
    if _is_quiet:
        yield lambda *_, **__: None
        return
    if not sys.stderr.isatty():
        yield _progress_lines(title, total, unit, done)
        return
    import typer

    start, shown = time.monotonic(), done
    left = ""  # typer's own estimate divides by the units of an earlier run, too
    bar: Any = typer.progressbar(
        itertools.count(),  # typer wants a length or an iterable, and the length may not be known yet
        length=total,
        label=title,
        show_pos=True,
        show_eta=False,
        item_show_func=lambda note: f"{unit}{left}  {note}" if note else f"{unit}{left}",
        bar_template="%(label)s [%(bar)s] %(info)s",
        width=24,
        file=sys.stderr,
    )
    with bar:
        bar.update(done)

        def advance(n: int = 1, note: str = "", total: int | None = None) -> None:
            nonlocal shown, left
            if total is not None:
                bar.length = total
            shown += n
            if bar.length is not None and shown > done:
                seconds = (time.monotonic() - start) * max(bar.length - shown, 0) / (shown - done)
                left = f"  {duration(seconds)} left"
            bar.current_item = printable_line(note)
            bar.update(n)

        yield advance


def _progress_lines(title: str, expected: int | None, unit: str, earlier: int) -> Callable[..., None]:
    start = last = time.monotonic()
    done = earlier

    def advance(n: int = 1, note: str = "", total: int | None = None) -> None:
        nonlocal done, last, expected
        done += n
        expected = total or expected
        now = time.monotonic()
        if now - last >= LINE_EVERY_S:
            last = now
            of = f"/{expected}" if expected is not None else ""
            is_measured = expected is not None and done > earlier
            left = (now - start) * (expected - done) / (done - earlier) if expected is not None and is_measured else 0.0
            eta = f", {duration(left)} left" if is_measured else ""
            say(f"{title}: {done}{of} {unit}{eta}{f', {note}' if note else ''}")

    return advance


def duration(seconds: float) -> str:
    """A time for people.

    >>> [duration(each) for each in (0.4, 99, 400, 7300)]
    ['0 s', '99 s', '7 min', '2 h 02 min']
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"
