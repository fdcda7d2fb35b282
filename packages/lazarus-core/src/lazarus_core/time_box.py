"""Time boxes: work that ends by itself before a limit, given as a duration or as a time of day.

A computer that sleeps stops its monotonic clock on Linux and macOS, and a wall clock can be set back. So a box counts
the longer of the two times since its start.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

LONGEST_S = 366 * 86400
"""Longest time box: a year. A longer one is a mistake in a number or a date."""
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>\d{{1,9}}){unit})?" for unit in _UNITS), re.ASCII)
_TIME_OF_DAY = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?", re.ASCII)


@dataclass(frozen=True)
class Clock:
    """The clocks of a machine; tests give others.

    Args:
        wall: Seconds since 1970, which a user can set. They go on while the computer sleeps.
        monotonic: Seconds since some time, which nobody can set.
    """

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


@dataclass(frozen=True)
class TimeBox:
    """A limit on the time of some work, counted from its start.

    Args:
        limit_s: Seconds from the start to the limit.
        clock: The clocks.
        wall_start: Wall clock at the start.
        monotonic_start: Monotonic clock at the start.
    """

    limit_s: float
    clock: Clock
    wall_start: float
    monotonic_start: float

    @classmethod
    def start(cls, run_for: str | None, stop_at: str | None, clock: Clock | None = None) -> "TimeBox":
        """A box that begins now. With both limits, the earlier one counts.

        Args:
            run_for: Duration, as `read_duration` takes it; None if the box has none.
            stop_at: Time of day or date with time, as `read_stop_time` takes it; None if the box has none.
            clock: The clocks; None takes those of the machine.

        Raises:
            ValueError: A limit is malformed, in the past, or more than a year ahead; or there is none.
        """
        clock = clock or Clock()
        wall = clock.wall()
        limits = [] if run_for is None else [float(read_duration(run_for))]
        if stop_at is not None:
            limits.append(next_occurrence(stop_at, wall) - wall)
        if not limits:
            raise ValueError("a time box needs a duration or an end")
        return cls(min(limits), clock, wall, clock.monotonic())

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start, time asleep included."""
        return max(self.clock.wall() - self.wall_start, self.clock.monotonic() - self.monotonic_start)

    @property
    def left_s(self) -> float:
        """Seconds to the limit; below 0 after it."""
        return self.limit_s - self.elapsed_s

    @property
    def end(self) -> datetime:
        """The limit in local time."""
        return datetime.fromtimestamp(self.wall_start + self.limit_s).astimezone()


def read_duration(text: str) -> int:
    """Seconds of a duration in days, hours, minutes and seconds.

    >>> [read_duration(each) for each in ("90s", "30m", "2h30m", "1d")]
    [90, 1800, 9000, 86400]

    Raises:
        ValueError: The text is no duration, or not from 1 second to 366 days.
    """
    found = _DURATION.fullmatch(text.strip())
    if not text.strip() or found is None:
        raise ValueError(f"{text!r} is not a duration: give one such as 90s, 30m, 2h30m or 1d")
    seconds = sum(int(found[unit] or 0) * size for unit, size in _UNITS.items())
    if not 1 <= seconds <= LONGEST_S:
        raise ValueError(f"{text!r}: give a duration from 1s to {LONGEST_S // 86400}d")
    return seconds


def read_stop_time(text: str) -> tuple[int, int, int] | datetime:
    """A time of day as hour, minute and second, or a date with a time. Without a zone a time is local.

    >>> read_stop_time("07:00")
    (7, 0, 0)
    >>> read_stop_time("2026-01-31T07:00").isoformat()
    '2026-01-31T07:00:00'

    Raises:
        ValueError: The text is neither.
    """
    words = f"{text!r} is not a time: give one such as 07:00 or 2026-01-31T07:00"
    if found := _TIME_OF_DAY.fullmatch(text.strip()):
        hour, minute, second = (int(part or 0) for part in found.groups())
        if hour > 23 or minute > 59 or second > 59:
            raise ValueError(words)
        return hour, minute, second
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(words) from None
    if not re.search(r"\d[T ]\d", text):
        raise ValueError(words)  # a date alone would mean midnight
    return moment


def next_occurrence(text: str, now: float) -> float:
    """The next time that `read_stop_time` reads, in seconds since 1970.

    Args:
        text: The time.
        now: Present time, in seconds since 1970.

    Raises:
        ValueError: The text is no time, or the date is in the past or more than a year ahead.
    """
    moment, present = read_stop_time(text), datetime.fromtimestamp(now)
    if isinstance(moment, datetime):
        try:
            found = moment.timestamp()
        except (OverflowError, OSError, ValueError):  # years that the system's clock does not have
            raise ValueError(f"{text!r} is out of range: give a time within a year") from None
        if not now < found <= now + LONGEST_S:
            raise ValueError(f"{text!r} is {'in the past' if found <= now else 'more than a year ahead'}: give another")
        return found
    hour, minute, second = moment
    today = present.replace(hour=hour, minute=minute, second=second, microsecond=0)
    found = today.timestamp()
    return found if found > now else (today + timedelta(days=1)).timestamp()
