"""Profile of training steps: where their time and memory go, as a table, `profile.json` and a Chrome trace.

A phase is a part of a step on the training thread, such as the optimizer. Forward and backward passes run on one thread
or several; their time is the mean over the threads. What no phase has is `other`. Profiled steps wait for the device
between phases, so they can take longer than others: the report compares both.
"""

import json
import statistics
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from lazarus_core.atomic import whole_file

JSON = dict[str, Any]
PROFILE_VERSION = 1
PROFILE, TRACE = "profile.json", "profile.trace.json"
"""Files in the run's folder. The second opens in Perfetto and in chrome://tracing."""
DEFAULT_STEPS = 10
"""Steps that are profiled if no number is given."""
_WARM_UP = 1
"""Steps before them, which include one-time costs such as compilation."""


class Memory(NamedTuple):
    """Memory of the device in bytes.

    Args:
        active: In use at the end of a phase.
        peak: Largest use during it.
    """

    active: int
    peak: int


class Span(NamedTuple):
    """A measured time, in seconds of the clock.

    Args:
        name: Phase.
        begin: Its begin.
        end: Its end.
        thread: Thread that it ran on; 0 is the training thread.
        memory: Memory, for phases of the training thread.
    """

    name: str
    begin: float
    end: float
    thread: int
    memory: Memory | None = None


class Device(NamedTuple):
    """What a profile reads of the device.

    Args:
        reset_peak: Begins a new peak of memory.
        memory: Reads the memory.
        mark: Context manager that marks a phase for an external profiler, such as NVTX.
    """

    reset_peak: Callable[[], object] = lambda: None
    memory: Callable[[], Memory] = lambda: Memory(0, 0)
    mark: Callable[[str], AbstractContextManager[object]] = lambda _: nullcontext()


class Profiler:
    """Measures phases of some steps; outside of them it does nothing.

    Args:
        steps: Steps to profile, after one that is not; 0 profiles none.
        clock: Gives seconds.
    """

    def __init__(self, steps: int = 0, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._wanted, self._clock = steps, clock
        self._device = Device()
        self._seen = 0
        self._begin: float | None = None
        self._spans: list[Span] = []
        self._threads: dict[int, int] = {}
        self._lock = threading.Lock()
        self.steps: dict[int, tuple[float, float]] = {}
        """Begin and end of every profiled step, by the steps done after it."""
        self.other_seconds: list[float] = []
        """Seconds of the steps that were not profiled, but the first."""

    @property
    def is_active(self) -> bool:
        """Whether a profiled step is in progress."""
        return self._begin is not None

    @property
    def is_wanted(self) -> bool:
        """Whether any step is profiled."""
        return self._wanted > 0

    def use(self, device: Device) -> None:
        """Sets the device whose memory is read."""
        self._device = device

    @contextmanager
    def step(self, done: int) -> Generator[None]:
        """Context manager: a whole step with all that follows it.

        Args:
            done: Steps done after it.
        """
        begin, number = self._clock(), self._seen
        self._seen += 1
        if self.is_wanted and _WARM_UP <= number < _WARM_UP + self._wanted:
            self._begin = begin
        try:
            yield
        finally:
            end = self._clock()
            if self._begin is not None:
                self.steps[done] = begin, end
            elif number >= _WARM_UP:
                self.other_seconds.append(end - begin)
            self._begin = None

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Context manager: a phase of the step on the training thread. Phases do not contain each other."""
        if not self.is_active:
            yield
            return
        self._device.reset_peak()
        begin = self._clock()
        with self._device.mark(name):
            yield
        end = self._clock()
        with self._lock:
            self._spans.append(Span(name, begin, end, 0, self._device.memory()))

    def add(self, name: str, begin: float, end: float) -> None:
        """Adds a span of the present thread.

        Args:
            name: Phase.
            begin: Its begin, by `now`.
            end: Its end.
        """
        with self._lock:
            thread = self._threads.setdefault(threading.get_ident(), len(self._threads) + 1)
            self._spans.append(Span(name, begin, end, thread, self._device.memory()))

    def now(self) -> float:
        """Seconds of the clock."""
        return self._clock()

    def report(self) -> JSON:
        """The profile as JSON: every phase with its seconds a step, share and memory, largest first."""
        total = sum(end - begin for begin, end in self.steps.values())
        threads = max(1, len(self._threads))
        phases: dict[str, JSON] = {}
        for name in dict.fromkeys(span.name for span in self._spans):
            spans = [span for span in self._spans if span.name == name]
            seconds = sum(span.end - span.begin for span in spans) / (threads if spans[0].thread else 1)
            memory = [span.memory for span in spans if span.memory is not None]
            phases[name] = {
                "seconds": seconds,
                "count": len(spans),
                "active_bytes": max((each.active for each in memory), default=0),
                "peak_bytes": max((each.peak for each in memory), default=0),
            }
        rest = total - sum(each["seconds"] for each in phases.values())
        phases["other"] = {"seconds": max(0.0, rest), "count": len(self.steps), "active_bytes": 0, "peak_bytes": 0}
        ordered = sorted(phases.items(), key=lambda item: -item[1]["seconds"])
        seconds = [end - begin for begin, end in self.steps.values()]
        mine = statistics.median(seconds) if seconds else None
        others = statistics.median(self.other_seconds) if self.other_seconds else None
        return {
            "profile_version": PROFILE_VERSION,
            "steps": list(self.steps),
            "seconds": total,
            "threads": threads,
            "step_seconds": mine,
            "other_step_seconds": others,
            "phases": [
                {"name": name, **each, "share": each["seconds"] / total if total else 0.0} for name, each in ordered
            ],
        }

    def trace(self) -> JSON:
        """The profile as a Chrome trace: spans by thread, and memory at their ends."""
        first = min((begin for begin, _ in self.steps.values()), default=0.0)
        at: Callable[[float], float] = lambda moment: round((moment - first) * 1e6, 1)  # noqa: E731 (microseconds)
        events: list[JSON] = [
            {"name": f"step {done}", "ph": "X", "ts": at(begin), "dur": at(end) - at(begin), "pid": 1, "tid": 0}
            for done, (begin, end) in self.steps.items()
        ]
        for span in self._spans:
            begin, end = at(span.begin), at(span.end)
            events.append({"name": span.name, "ph": "X", "ts": begin, "dur": end - begin, "pid": 1, "tid": span.thread})
            if span.memory is not None:
                memory = {"active": span.memory.active}
                events.append({"name": "memory", "ph": "C", "ts": end, "pid": 1, "args": memory})
        return {"displayTimeUnit": "ms", "traceEvents": events}

    def write(self, folder: Path) -> None:
        """Writes `profile.json` and `profile.trace.json`, if a step was profiled."""
        for name, members in ((PROFILE, self.report()), (TRACE, self.trace())) if self.steps else ():
            with whole_file(folder / name) as file:
                file.write(json.dumps(members, indent=1, allow_nan=False).encode() + b"\n")


OFF = Profiler()
"""Profiles nothing."""


def profile_table(report: Mapping[str, Any]) -> list[str]:
    """Lines of a table of a profile.

    Args:
        report: Result of `Profiler.report`.
    """
    count = len(report["steps"])
    rows: list[Sequence[str]] = [("phase", "ms/step", "share", "peak memory")]
    for each in report["phases"]:
        peak = f"{each['peak_bytes'] / 2**20:,.1f} MiB" if each["peak_bytes"] else "-"
        rows.append((each["name"], f"{1000 * each['seconds'] / max(1, count):,.2f}", f"{each['share']:.1%}", peak))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    mine, others = report["step_seconds"], report["other_step_seconds"]
    compared = f", {mine / others:.2f} times a step that was not profiled" if mine and others else ""
    whole = f"{count} profiled steps, median {1000 * mine:,.2f} ms{compared}" if mine else "no step was profiled"
    return [*lines, whole]
