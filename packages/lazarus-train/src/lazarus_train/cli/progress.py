"""Progress output of a run, and its signal handlers."""

import contextlib
import signal
import time
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING

from lazarus_core.console import duration, progress, say, warn
from lazarus_train.cli.figures import Figures, tokens_of

if TYPE_CHECKING:
    from lazarus_plan.checks import ChainCheck
    from lazarus_plan.report import StepMixture
    from lazarus_train.callbacks.base import Watcher
    from lazarus_train.callbacks.reports import HeldOut, MemoryEstimate, StepReport
    from lazarus_train.config import TrainConfig

_MAX_SHARES = 4
"""Sources whose shares a progress line shows."""


@contextlib.contextmanager
def watching(config: "TrainConfig", *, is_shown: bool, figures: Figures) -> Generator["Watcher"]:
    """Progress on stderr. After the first step, Ctrl-C requests a stop after the current step.

    Args:
        config: Settings of the run.
        is_shown: Whether this process shows progress. If several processes train, one shows it and all can be
            stopped.
        figures: Gets the steps, in the process that shows progress.
    """
    from lazarus_train.callbacks.base import Watcher
    from lazarus_train.cli.option_names import name_options

    asked: list[int] = []
    with contextlib.ExitStack() as stack:
        if not is_shown:
            signals = stack.enter_context(contextlib.ExitStack())
            stack.enter_context(_exit_of_signal(asked))
            yield Watcher(
                on_start=lambda checked, first, last: signals.enter_context(_asking_to_stop(asked, is_shown=False)),
                should_stop=lambda: bool(asked),
            )
            return
        display = _Display(stack, asked, figures)
        names = ", ".join(path.name for path in config.data_files)
        display.show_bar(f"encoding {names}", None, "rows")
        stack.enter_context(_exit_of_signal(asked))
        stack.callback(display.show_result)
        yield Watcher(
            on_rows=lambda rows: display.bar(rows),
            on_reference=display.on_reference,
            on_memory=display.on_memory,
            on_start=display.on_start,
            on_step=display.on_step,
            on_measure=display.on_measure,
            on_answers=display.on_answers,
            on_held_out=display.on_held_out,
            on_warning=lambda line: warn(name_options(line)),
            should_stop=lambda: bool(asked),
        )


class _Display:
    """The lines and the progress bar of a run.

    Args:
        stack: Closed when the run ends.
        asked: Signals that requested a stop.
        figures: Gets the steps.
    """

    def __init__(self, stack: contextlib.ExitStack, asked: list[int], figures: Figures) -> None:
        self._stack = stack
        self._asked = asked
        self._shown = stack.enter_context(contextlib.ExitStack())  # the bar in sight
        self._pairs: int | None = None
        self._figures = figures
        self.bar: Callable[..., object] = lambda *_, **__: None

    def show_bar(self, title: str, total: int | None, unit: str, done: int = 0) -> None:
        """Replaces the bar.

        Args:
            title: Text before the bar.
            total: Length of the bar; None if unknown.
            unit: Unit of the count.
            done: Units of an earlier run.
        """
        self._shown.close()
        self.bar = self._shown.enter_context(progress(title, total=total, unit=unit, done=done))

    def on_memory(self, estimate: "MemoryEstimate") -> None:
        say(f"memory: {estimate.in_words()}")

    def on_reference(self, done: int, total: int) -> None:
        if self._pairs is None or done <= self._pairs:  # other rows than before
            self.show_bar("the reference", total, "pairs")
            self._pairs = 0
        self.bar(done - self._pairs)
        self._pairs = done

    def on_start(self, checked: "ChainCheck", first: int, last: int) -> None:
        from lazarus_models.backend import KERNELS

        self._shown.close()
        for line in checked.lines():
            say(f"plan: {line}")
        say(f"steps {first + 1} to {last}" if first < last else "no step is left to do")
        if KERNELS is not None and first < last:
            say(KERNELS.in_words)
        self._stack.enter_context(_asking_to_stop(self._asked, is_shown=True))
        self.show_bar("training", last, "steps", first)
        self._figures.began = time.monotonic()

    def on_step(self, report: "StepReport") -> None:
        is_warm = self._figures.first is not None
        self._figures.add(report)
        told = "".join(f", accuracy {each:.2f}" for name, each in report.metrics.items() if "accuracy" in name)
        speed = f"{tokens_of(report) / report.seconds:,.0f} tokens/s" if is_warm else "warm-up"
        mixed = "" if report.mixture is None else f", {mixture_note(report.mixture)}"
        self.bar(1, note=f"{_main_figure(report)}{told}, {speed}, {report.epochs:.2f} epochs{mixed}")

    def show_result(self) -> None:
        """Says what the steps of this run did: first and last loss, speed, time."""
        self._shown.close()
        first, last = self._figures.first, self._figures.last
        if first is None or last is None:
            return
        losses = f"{_main_figure(first)} at step {first.step}"
        if last is not first:
            losses += f", {_main_figure(last).partition(' ')[2]} at step {last.step}"
        speed = self._figures.tokens_per_s
        pace = "" if speed is None else f"{speed:,.0f} tokens/s, "
        say(f"trained: {losses}; {pace}{duration(self._figures.seconds)}")

    def on_measure(self, done: int, total: int) -> None:
        self.bar(0, note=f"measuring held-out loss, {done / total:.0%}")

    def on_held_out(self, step: int, name: str, result: "HeldOut") -> None:
        say(f"held-out loss of {name} after step {step}: {result.in_words()}")

    def on_answers(self, step: int, answers: "Mapping[str, str]") -> None:
        for prompt, text in answers.items():
            say(f"after step {step}, {prompt!r}: {text.strip()!r}")


def _main_figure(report: "StepReport") -> str:
    """The loss of a step, or the mean reward of its answers."""
    reward = report.metrics.get("reward")
    return f"loss {report.loss:.3f}" if reward is None else f"reward {reward:.3f}"


def mixture_note(mixture: "StepMixture") -> str:
    """The share of each source in the rows since the start, seen and asked, for the progress line.

    Args:
        mixture: Mixture of the newest step.
    """
    total = sum(mixture.seen_rows)
    seen = [100 * rows / total for rows in mixture.seen_rows]
    asked = [100 * rows / total for rows in mixture.due_rows]
    if len(seen) > _MAX_SHARES:
        gap = max(abs(first - second) for first, second in zip(seen, asked, strict=True))
        return f"mixture within {gap:.1f} % of rows"
    seen_words, asked_words = ("/".join(f"{share:.1f}" for share in shares) for shares in (seen, asked))
    return f"mixture {seen_words} % of rows, asked {asked_words}"


@contextlib.contextmanager
def _exit_of_signal(asked: list[int]) -> Generator[None]:
    """Sets the exit code of a requested stop by its signal: 130 for Ctrl-C, 143 for SIGTERM."""
    from lazarus_train.errors import Interrupted

    try:
        yield
    except Interrupted as error:
        if asked:
            error.exit_code = 128 + asked[0]
        raise


@contextlib.contextmanager
def _asking_to_stop(asked: list[int], *, is_shown: bool) -> Generator[None]:
    """Records Ctrl-C and SIGTERM in `asked`; the second signal stops at once."""

    def ask(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        asked.append(number)
        if is_shown:
            warn("stopping after this step; once more stops at once")

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
