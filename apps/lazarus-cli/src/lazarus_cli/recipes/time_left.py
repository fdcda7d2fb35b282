"""Time left of a recipe: from the progress of the running stage, and for the others from what was measured.

A stage that has run before is expected to take as long as then. A training stage that has not takes the tokens of its steps by the
tokens a second of a training stage of the recipe. Where neither is known, the time is that of the known stages alone.
"""

import statistics
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

from lazarus_cli.recipes.folder import RecipeFolder
from lazarus_cli.recipes.recipe import Recipe, StageNode
from lazarus_core.console import duration
from lazarus_core.errors import LazarusError
from lazarus_plan import load_plan

_NEWEST = 50
"""Steps whose median is the speed of a training stage."""


class TimeLeft(NamedTuple):
    """Time left of a recipe.

    Args:
        seconds: Seconds of the stages whose time can be estimated.
        unknown: Names of the others.
    """

    seconds: float
    unknown: tuple[str, ...]

    def in_words(self) -> str:
        """The time for a progress line."""
        known = f"{duration(self.seconds)} left"
        if not self.unknown:
            return f"recipe: about {known}"
        without = self.unknown[0] if len(self.unknown) == 1 else f"{len(self.unknown)} stages"
        return f"recipe: more than {known}, without {without}"


@dataclass
class _Running:
    """The running stage."""

    name: str
    began: float
    first: int | None = None
    first_at: float = 0.0
    done: int = 0
    total: int | None = None


class Forecast:
    """The time left of a recipe that runs.

    Args:
        recipe: The recipe.
        folder: Its folder.
        wanted: Names of the stages that may run.
        clock: Seconds since some time.
    """

    def __init__(
        self, recipe: Recipe, folder: RecipeFolder, wanted: Collection[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._recipe, self._folder, self._clock = recipe, folder, clock
        self._nodes = {each.name: each for each in recipe.stages}
        self._open = [each.name for each in recipe.stages if each.name in wanted]
        # Read now: the record of a stage is removed when it begins.
        self._earlier = {each.name: each.seconds for each in folder.records()}
        self._ran: set[str] = set()
        self._running: _Running | None = None
        self._speed: float | None = None

    def begin(self, name: str) -> None:
        """A stage begins."""
        self._ran.add(name)
        self._running = _Running(name, self._clock())
        self._speed = self._measured_speed()

    def advance(self, done: int, total: int | None) -> None:
        """The running stage made progress.

        Args:
            done: Units done in all, those of an earlier process included.
            total: Units in all; None if unknown.
        """
        running = self._running
        if running is None:
            return
        if running.first is None:
            running.first, running.first_at = done, self._clock()
        running.done, running.total = done, total

    def end(self, name: str) -> None:
        """A stage ended, or was found to be unchanged."""
        self._open = [each for each in self._open if each != name]
        self._running = None

    def left(self) -> TimeLeft:
        """The time left now: of the running stage, of those that never ran, and of those that read what ran."""
        found: dict[str, float | None] = {}
        for name in self._open:
            if self._running is not None and name == self._running.name:
                found[name] = self._rest(self._running)
            elif self._waits(name):
                found[name] = self._expected(self._nodes[name])
        known = [seconds for seconds in found.values() if seconds is not None]
        return TimeLeft(sum(known), tuple(name for name, seconds in found.items() if seconds is None))

    def _waits(self, name: str) -> bool:
        return name not in self._earlier or bool(self._recipe.upstream(name) & self._ran)

    def _rest(self, running: _Running) -> float | None:
        """Seconds that the running stage still takes."""
        now = self._clock()
        if running.first is not None and running.total is not None and running.done > running.first:
            pace = (now - running.first_at) / (running.done - running.first)
            return pace * (running.total - running.done)
        expected = self._expected(self._nodes[running.name])
        return None if expected is None else max(0.0, expected - (now - running.began))

    def _expected(self, node: StageNode) -> float | None:
        """Seconds of a whole stage."""
        earlier = self._earlier.get(node.name)
        if earlier is not None:
            return earlier
        tokens = self._tokens(node)
        return None if tokens is None or self._speed is None else tokens / self._speed

    def _tokens(self, node: StageNode) -> int | None:
        """Tokens of the steps of a training stage; None for other stages, and while its plan is not there."""
        plans = [read.name for read in node.reads if read.label == "plan"]
        if not plans or plans[0] in self._open or plans[0] not in self._nodes:
            return None
        try:
            plan = load_plan(self._folder.stage(plans[0]))
        except (LazarusError, OSError):
            return None
        steps = min(len(plan), getattr(node.settings, "max_steps", None) or len(plan))
        return int((plan.end - plan.start)[: plan.step_splits[steps]].sum())

    def _measured_speed(self) -> float | None:
        """Median tokens a second of the newest training stage of the recipe."""
        from lazarus_train.run_dir import RunRecord

        found: list[tuple[float, float]] = []
        for node in self._nodes.values():
            path = self._folder.stage(node.name) / "throughput.jsonl"
            try:
                lines = RunRecord.read(path.parent).throughput[-_NEWEST:]
                speeds = [float(line["tokens_per_s"]) for line in lines]
                found.append((path.stat().st_mtime, statistics.median(speeds)))
            except (LazarusError, OSError, KeyError, TypeError, ValueError):
                continue  # no training stage, or none with a step
        return max(found)[1] if found else None
