"""Figures of the steps that a command trained, and the result of a run as JSON."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from lazarus_train.callbacks.reports import StepReport
    from lazarus_train.engine.trainer import RunResult
    from lazarus_train.errors import TimeIsUp


@dataclass
class Figures:
    """Figures of the steps of one command; steps before a resume do not count.

    Args:
        began: Time of the start, by `time.monotonic`.
        first: First step; None before it.
        last: Latest step.
        tokens: Real tokens of all steps, without padding; with drawn answers, the drawn tokens.
        timed_tokens: `tokens` without those of the first step, which includes the warm-up.
        timed_seconds: Seconds of the steps after the first, without measurements and checkpoints.
    """

    began: float = field(default_factory=time.monotonic)
    first: "StepReport | None" = None
    last: "StepReport | None" = None
    tokens: int = 0
    timed_tokens: int = 0
    timed_seconds: float = 0.0

    def add(self, report: "StepReport") -> None:
        """Adds a step."""
        tokens = tokens_of(report)
        self.tokens += tokens
        if self.first is not None:
            self.timed_tokens += tokens
            self.timed_seconds += report.seconds
        self.first, self.last = self.first or report, report

    @property
    def tokens_per_s(self) -> float | None:
        """Mean speed of the steps after the first; None if there are none.

        A first step includes the warm-up, on a GPU the compilation of its kernels: a minute on a new machine.
        """
        return self.timed_tokens / self.timed_seconds if self.timed_seconds else None

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.began


def box_as_json(ended: "TimeIsUp", output: "Path", figures: Figures) -> dict[str, Any]:
    """The result of a run that its time box ended. Members that `result_as_json` has too mean the same.

    Args:
        ended: Of the trainer.
        output: Folder of the run.
        figures: Of the steps of this command.
    """
    left, first, last = ended.left, figures.first, figures.last
    checkpoint = None if left is None or left.checkpoint is None else str(left.checkpoint)
    return {
        "output": str(output),
        "final": None,
        "checkpoint": checkpoint,
        "steps": None if left is None else left.done,
        "left": None if left is None else {"steps": left.steps, "tokens": left.tokens, "seconds": left.seconds},
        "first_step": None if first is None else first.step,
        "first_loss": None if first is None else first.loss,
        "last_loss": None if last is None else last.loss,
        "tokens": figures.tokens,
        "seconds": round(figures.seconds, 3),
    }


def tokens_of(report: "StepReport") -> int:
    """Real tokens of a step, without padding; with drawn answers, the drawn tokens."""
    if report.rollouts is None:
        return report.tokens
    return round(report.metrics.get("answers", 0) * report.metrics.get("answer_tokens", 0))


def result_as_json(result: "RunResult", output: "Path", figures: Figures) -> dict[str, Any]:
    """The result of a run. Losses are None if no step was left to do.

    Args:
        result: Of the trainer.
        output: Folder of the run.
        figures: Of the steps of this command.
    """
    first, last = figures.first, figures.last
    return {
        "output": str(output),
        "final": str(result.final),
        "steps": result.steps,
        "plan_steps": result.plan_steps,
        "first_step": None if first is None else first.step,
        "first_loss": None if first is None else first.loss,
        "last_loss": None if last is None else last.loss,
        "tokens": figures.tokens,
        "tokens_per_s": None if figures.tokens_per_s is None else round(figures.tokens_per_s, 1),
        "seconds": round(figures.seconds, 3),
        "audit_head": result.audit_head,
        "data_head": result.data_head,
    }
