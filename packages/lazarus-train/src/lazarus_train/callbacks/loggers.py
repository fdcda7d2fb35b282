"""Sends the metrics of a run to TensorBoard or Weights & Biases. Both are extras, and neither affects the run."""

import contextlib
import hashlib
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, Literal, Protocol

from lazarus_plan.report import StepMixture
from lazarus_train.callbacks.base import Watcher
from lazarus_train.callbacks.reports import HeldOut, StepReport
from lazarus_train.config import TrainConfig
from lazarus_train.errors import SetupError

LoggerName = Literal["tensorboard", "wandb"]


class Logger(Protocol):
    """Receives metrics."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Logs finite metrics of a step, by name.

        Args:
            step: Steps done.
            values: Metrics by name.
        """
        ...

    def close(self) -> None:
        """Flushes and closes the logger."""
        ...


class _TensorBoard:
    """Event files in `OUT/tensorboard`; repeated steps replace earlier ones."""

    def __init__(self, config: TrainConfig) -> None:
        with _extra("tensorboard", "tensorboardX"):
            self._package: Any = import_module("tensorboardX")
        self._folder = config.output / "tensorboard"
        self._writer: Any = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if self._writer is None:
            self._writer = self._package.SummaryWriter(str(self._folder), purge_step=step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _WandB:
    """A run of the project `lazarus`, named by the output folder; a resumed run continues it."""

    def __init__(self, config: TrainConfig) -> None:
        with _extra("wandb", "wandb"):
            self._wandb: Any = import_module("wandb")
        self._config = config
        self._run: Any = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if self._run is None:
            folder = self._config.output.resolve()
            self._run = self._wandb.init(
                project="lazarus",
                name=folder.name,
                id=hashlib.sha256(str(folder).encode()).hexdigest()[:16],  # the same for every start of the run
                resume="allow",
                dir=str(folder),
                config=self._config.model_dump(mode="json"),
            )
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()


_LOGGERS: dict[LoggerName, Callable[[TrainConfig], Logger]] = {"tensorboard": _TensorBoard, "wandb": _WandB}


@contextlib.contextmanager
def telling(watcher: Watcher, names: Sequence[LoggerName], config: TrainConfig) -> Generator[Watcher]:
    """The watcher with loggers, which receive each step and each held-out loss.

    Args:
        watcher: The original callbacks, which are still called.
        names: Names of the loggers.
        config: Settings of the run.

    Raises:
        SetupError: The extra of a logger is not installed.
    """
    with contextlib.ExitStack() as stack:
        loggers = [_LOGGERS[name](config) for name in names]
        for logger in loggers:
            stack.callback(logger.close)

        names_of_sources = [path.name for path in config.data_files]

        def tell(step: int, values: Mapping[str, float]) -> None:
            finite = {name: value for name, value in values.items() if math.isfinite(value)}
            for logger in loggers:
                logger.log(step, finite)

        def on_step(report: StepReport) -> None:
            watcher.on_step(report)
            speed = report.tokens / report.seconds
            figures = {
                "loss": report.loss,
                "learning_rate": report.rate,
                "grad_norm": report.norm,
                "tokens_per_s": speed,
            }
            tell(report.step, {f"train/{name}": value for name, value in {**figures, **report.metrics}.items()})
            if report.mixture is not None:
                tell(report.step, _shares(report.mixture, names_of_sources))

        def on_held_out(step: int, eval_set: str, result: HeldOut) -> None:
            watcher.on_held_out(step, eval_set, result)
            figures = {"loss": result.loss, **result.metrics}
            tell(step, {f"held_out/{eval_set}/{name}": value for name, value in figures.items()})

        yield replace(watcher, on_step=on_step, on_held_out=on_held_out)


def _shares(mixture: StepMixture, names: Sequence[str]) -> dict[str, float]:
    """Share of each source in the rows since the start, seen and asked, by the name of its metric."""
    total = sum(mixture.seen_rows)
    found: dict[str, float] = {}
    for place, (seen, due) in enumerate(zip(mixture.seen_rows, mixture.due_rows, strict=True)):
        name = f"{place} {names[place]}"
        found |= {f"mixture/{name}/seen": seen / total, f"mixture/{name}/asked": due / total}
    return found


@contextlib.contextmanager
def _extra(extra: str, package: str) -> Generator[None]:
    try:
        yield
    except ImportError as error:
        raise SetupError(f"`log_to={extra}` needs {package}: install lazarus-train[{extra}]", "LR-E170") from error
