"""The progress of long work on stderr."""

import contextlib
import itertools
import sys
import time
from collections.abc import Callable, Generator
from typing import Any

from lazarus_core.console.output import is_quiet, say
from lazarus_core.console.time_left import TimeLeft
from lazarus_core.printable import printable_line

LINE_EVERY_S = 10.0
"""Seconds between progress lines when stderr is not a terminal."""


@contextlib.contextmanager
def progress(title: str, *, total: int | None, unit: str, done: int = 0) -> Generator[Callable[..., None]]:
    """Show the progress of long work: a bar if stderr is a terminal, else one line every ten seconds.

    The remaining time is shown from the third update on; the first one, which includes the warm-up, does not count.

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
    if is_quiet():
        yield lambda *_, **__: None
        return
    if not sys.stderr.isatty():
        yield _progress_lines(title, total, unit, done)
        return
    import typer

    shown, pace = done, TimeLeft()
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
            pace.update(n, time.monotonic())
            seconds = None if bar.length is None else pace.seconds(max(bar.length - shown, 0))
            left = "" if seconds is None else f"  {duration(seconds)} left"
            bar.current_item = printable_line(note)
            bar.update(n)

        yield advance


def _progress_lines(title: str, expected: int | None, unit: str, done: int) -> Callable[..., None]:
    last, pace = time.monotonic(), TimeLeft()

    def advance(n: int = 1, note: str = "", total: int | None = None) -> None:
        nonlocal done, last, expected
        done += n
        expected = total or expected
        now = time.monotonic()
        pace.update(n, now)
        if now - last >= LINE_EVERY_S:
            last = now
            of = f"/{expected}" if expected is not None else ""
            left = None if expected is None else pace.seconds(max(expected - done, 0))
            eta = "" if left is None else f", {duration(left)} left"
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
