"""Callbacks of a run: progress, results, and requests to stop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lazarus_plan.checks import ChainCheck
from lazarus_train.callbacks.reports import HeldOut, MemoryEstimate, StepReport


@dataclass(frozen=True)
class Watcher:
    """Callbacks of a run; the default of each does nothing.

    Args:
        on_rows: Called with the number of rows encoded since the last call.
        on_memory: Called with the estimated peak memory of the run, before the first step.
        on_start: Called with the checked links of the plan, the first step to do, and the step to end after.
        on_reference: Called with the number of pairs whose reference is computed, and their total.
        on_step: Called with each finished step.
        on_measure: Called with the number of held-out plan rows measured, and their total.
        on_held_out: Called with the step, the name of a held-out set, and its loss after the step.
        on_answers: Called with the step and the model's answers after it, by prompt.
        on_warning: Called with a line about settings that are allowed but probably wrong.
        should_stop: Called after each step and between held-out rows; true stops the run, which can be resumed.
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
