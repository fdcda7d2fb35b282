"""What a user sees of a run in progress, and how the user stops it."""

import contextlib
import signal
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from lazarus_core.console import progress, say

if TYPE_CHECKING:
    from lazarus_plan import ChainCheck
    from lazarus_train.callbacks.base import StepReport, Watcher
    from lazarus_train.config import TrainConfig
    from lazarus_train.engine.evaluation import HeldOut


@contextlib.contextmanager
def watching(config: "TrainConfig", *, speaks: bool) -> Generator["Watcher"]:
    """Progress on stderr; from the first step on, Ctrl-C is a request to stop after the step.

    Where several processes train, one speaks and all of them listen.
    """
    from lazarus_train.callbacks.base import Watcher

    asked: list[int] = []
    if not speaks:
        with contextlib.ExitStack() as listening:

            def listen(_: "ChainCheck", first: int, last: int) -> None:
                listening.enter_context(_asking_to_stop(asked, speaks=False))

            with _exit_of_signal(asked):
                yield Watcher(on_start=listen, should_stop=lambda: bool(asked))
        return
    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(contextlib.ExitStack())  # the one bar in sight
        bars: list[Any] = []

        def show_bar(title: str, total: int | None, unit: str) -> None:
            shown.close()
            bars.append(shown.enter_context(progress(title, total=total, unit=unit)))

        def on_reference(done: int, total: int) -> None:
            if done <= seen.get("pairs", 0) or "pairs" not in seen:  # of other rows than before
                show_bar("the reference", total, "pairs")
                seen["pairs"] = 0
            bars[-1](done - seen["pairs"])
            seen["pairs"] = done

        seen: dict[str, int] = {}
        names = ", ".join(path.name for path in config.data_files)
        show_bar(f"encoding {names}", None, "rows")

        def on_start(checked: "ChainCheck", first: int, last: int) -> None:
            shown.close()
            for line in checked.lines():
                say(f"plan: {line}")
            say(f"steps {first + 1} to {last}" if first < last else "no step is left to do")
            stack.enter_context(_asking_to_stop(asked, speaks=True))
            show_bar("training", last, "steps")
            bars[-1](first)

        def on_step(report: "StepReport") -> None:
            told = "".join(f", accuracy {each:.2f}" for name, each in report.metrics.items() if "accuracy" in name)
            speed = f"{report.tokens / report.seconds:,.0f} tokens/s"
            bars[-1](1, note=f"loss {report.loss:.3f}{told}, {speed}, {report.epochs:.2f} epochs")

        def on_measure(done: int, total: int) -> None:
            bars[-1](0, note=f"measuring held-out loss, {done / total:.0%}")

        def on_held_out(step: int, name: str, result: "HeldOut") -> None:
            say(f"held-out loss of {name} after step {step}: {result.in_words()}")

        def on_answers(step: int, answers: "Mapping[str, str]") -> None:
            for prompt, text in answers.items():
                say(f"after step {step}, {prompt!r}: {text.strip()!r}")

        stack.enter_context(_exit_of_signal(asked))
        yield Watcher(
            on_rows=lambda rows: bars[-1](rows),
            on_reference=on_reference,
            on_memory=lambda estimate: say(f"memory: {estimate.in_words()}"),
            on_start=on_start,
            on_step=on_step,
            on_measure=on_measure,
            on_answers=on_answers,
            on_held_out=on_held_out,
            on_warning=say,
            should_stop=lambda: bool(asked),
        )


@contextlib.contextmanager
def _exit_of_signal(asked: list[int]) -> Generator[None]:
    """Gives a stop on request the exit code of the signal that asked for it: 130 for Ctrl-C, 143 for SIGTERM."""
    from lazarus_train.errors import Interrupted

    try:
        yield
    except Interrupted as error:
        if asked:
            error.exit_code = 128 + asked[0]
        raise


@contextlib.contextmanager
def _asking_to_stop(asked: list[int], *, speaks: bool) -> Generator[None]:
    """Notes Ctrl-C and SIGTERM in `asked`; the second one stops at once."""

    def ask(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        asked.append(number)
        if speaks:
            say("stopping after this step; once more stops at once")

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
