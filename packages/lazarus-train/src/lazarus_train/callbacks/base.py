"""Callbacks of a run: progress, results, and requests to stop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lazarus_plan.checks import ChainCheck
from lazarus_train.callbacks.reports import HeldOut, MemoryEstimate, StepReport


@dataclass(frozen=True)
class Watcher:
    """Callbacks of a run; each does nothing unless given.

    Args:
        on_rows: Given the number of rows encoded since the last call.
        on_memory: Given the estimated peak of the run's memory, before the first step.
        on_start: Given what of the plan was checked, the first step to do, and the step to end after.
        on_reference: Given the pairs whose reference was computed so far, and all of them.
        on_step: Given each finished step.
        on_measure: Given the plan rows of the held-out data measured so far, and all of them.
        on_held_out: Given the step, the name of held-out rows, and their loss after it.
        on_answers: Given the step and what the model answered after it, by prompt.
        on_warning: Given a line about what is allowed and likely not meant.
        should_stop: Asked after each step and between held-out rows; true ends the run so that it can go on later.
    """

    on_rows: Callable[[int], object] = lambda _: None
    on_memory: Callable[[MemoryEstimate], object] = lambda _: None
    on_start: Callable[[ChainCheck, int, int], object] = lambda checked, first, last: None
    on_reference: Callable[[int, int], object] = lambda done, total: None
    on_step: Callable[[StepReport], object] = lambda _: None
    on_measure: Callable[[int, int], object] = lambda done, total: None
    on_held_out: Callable[[int, str, HeldOut], object] = lambda step, name, result: None
    on_answers: Callable[[int, Mapping[str, str]], object] = lambda step, answers: None
    on_warning: Callable[[str], object] = lambda _: None
    should_stop: Callable[[], bool] = lambda: False


SILENT = Watcher()
"""Callbacks that do nothing."""
