"""The pace of a run in a time box: whether another step and its checkpoint fit before the limit.

What a step and a checkpoint take is measured by the monotonic clock, which leaves out time asleep. What is left of the
box includes time asleep. So a computer that slept over the limit stops before its next step.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lazarus_core.console import duration
from lazarus_core.time_box import TimeBox
from lazarus_models.backend import nn
from lazarus_models.trees import flatten
from lazarus_train.callbacks.base import Watcher
from lazarus_train.errors import Left, TimeIsUp

_RECENT = 10
"""Steps whose slowest counts as what the next one takes. Steps of a plan have about the same cost."""
_READ_BACK = 2.0
"""Time of a checkpoint that is written, hashed and read back, relative to one that is only written and hashed."""
_SLOW_DISK = 50e6
"""Bytes a second of a checkpoint before one was measured: half of what a hard disk writes in sequence (about 100 MB/s)."""
_MOMENTS = 8
"""Bytes of two moments in float32 for each trained number."""


@dataclass
class Pace:
    """The pace of a run in a time box.

    Args:
        box: The time box.
        asked: Whether a stop was requested for another reason.
        save_s: Estimated seconds of a checkpoint; the slowest measured one replaces it.
        steps: Seconds of the newest steps.
        saves: Seconds of the checkpoints that this box wrote.
        trained: Steps trained in the box.
        tokens: Real tokens of these steps.
        began: Monotonic clock at the first of them.
    """

    box: TimeBox
    asked: Callable[[], bool] = lambda: False
    save_s: float = 0.0
    steps: deque[float] = field(default_factory=lambda: deque[float](maxlen=_RECENT))
    saves: list[float] = field(default_factory=list[float])
    trained: int = 0
    tokens: int = 0
    began: float | None = None

    def estimate(self, model: nn.Module, throughput: Sequence[dict[str, Any]], save_s: float | None) -> None:
        """Estimates what a step and a checkpoint take, before the first ones of the box.

        Args:
            model: Model in training, for the size of its checkpoints.
            throughput: Lines of the run's throughput so far.
            save_s: Seconds of a checkpoint in an earlier box of the run; None if there was none.
        """
        learnt = sum(each.size for each in flatten(model.trainable_parameters()).values())
        stored = sum(each.nbytes for each in flatten(model.parameters()).values())
        self.save_s = (stored + _MOMENTS * learnt) / _SLOW_DISK if save_s is None else save_s
        self.steps.extend(line["seconds"] for line in throughput[-_RECENT:] if "seconds" in line)

    def watching(self, watcher: Watcher, *, is_alone: bool) -> Watcher:
        """Callbacks that stop the run at the end of the box too.

        Args:
            watcher: The callbacks of the run.
            is_alone: Whether the run has one process. Several end together, before their first step.
        """

        def check(doing: str) -> None:
            if is_alone and self.box.left_s <= 0:
                raise TimeIsUp(
                    f"the time box ended {doing}, before a step; nothing is lost: give a longer `run_for` or a later `stop_at`"
                )

        def on_rows(rows: int) -> None:
            check("while rows were encoded")
            watcher.on_rows(rows)

        def on_reference(done: int, total: int) -> None:
            check("while the reference was computed")
            watcher.on_reference(done, total)

        return replace(
            watcher,
            on_rows=on_rows,
            on_reference=on_reference,
            should_stop=lambda: watcher.should_stop() or self.is_closing(),
        )

    @property
    def step_s(self) -> float:
        """Seconds that the next step takes at most, as far as known."""
        return max(self.steps, default=0.0)

    @property
    def closing_s(self) -> float:
        """Seconds of a checkpoint that is written and read back."""
        return _READ_BACK * self.save_s

    def is_closing(self) -> bool:
        """Whether the box has no more time than a checkpoint takes."""
        return self.box.left_s < self.closing_s

    def is_over(self) -> bool:
        """Whether another step with a checkpoint does not fit into the box."""
        return self.box.left_s < self.step_s + self.closing_s

    @contextlib.contextmanager
    def step(self, tokens: int) -> Generator[None]:
        """Context manager: measures a step.

        Args:
            tokens: Real tokens of the step.
        """
        began = self._now()
        self.began = began if self.began is None else self.began
        yield
        self.steps.append(self._now() - began)
        self.trained += 1
        self.tokens += tokens

    @contextlib.contextmanager
    def saving(self) -> Generator[None]:
        """Context manager: measures the writing of a checkpoint."""
        began = self._now()
        yield
        self.saves.append(self._now() - began)
        self.save_s = max(self.saves)

    def seconds_for(self, tokens: int) -> float | None:
        """Estimated seconds to train on so many tokens at the mean speed of this box, checkpoints and evaluations included;
        None before its first step.
        """
        return None if self.began is None or not self.tokens else (self._now() - self.began) * tokens / self.tokens

    def time_is_up(self, left: Left, steps: int) -> TimeIsUp:
        """The end of the box as an error.

        Args:
            left: What is left of the run.
            steps: Steps of the whole run.
        """
        saved = "nothing is saved yet" if left.checkpoint is None else f"{left.checkpoint} is written and verified"
        if not self.trained:
            why = (
                f"a step with its checkpoint takes about {duration(self.step_s + self.closing_s)}; "
                if self.step_s
                else ""
            )
            return TimeIsUp(
                f"the time box ended before a step of this command ({left.done} of {steps} steps done): {why}{saved}; give a longer "
                "`run_for` or a later `stop_at`",
                left,
            )
        todo = (
            f"{left.steps} steps with {left.tokens:,} tokens are left"
            if left.steps
            else "the last measurements are left"
        )
        time = f", about {duration(left.seconds)}" if left.seconds is not None and left.steps else ""
        return TimeIsUp(
            f"the time box ended after step {left.done} of {steps}: {todo}{time}; {saved}; run the same command to continue",
            left,
        )

    def _now(self) -> float:
        return self.box.clock.monotonic()
