"""Evaluations during a run: held-out losses, sampled answers and images.

Results are written to the run's logs. A result that is already logged is not computed again. So a run that was killed
during an evaluation ends with the same logs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lazarus_tokenkit import Encoder
from lazarus_train.callbacks.base import Watcher
from lazarus_train.callbacks.reports import HeldOut
from lazarus_train.config import TrainConfig
from lazarus_train.distributed import ProcessGroup
from lazarus_train.engine.evaluation import HeldOutData, held_out
from lazarus_train.engine.sample_generations import answer
from lazarus_train.engine.sample_images import sample_images
from lazarus_train.engine.state import TrainState
from lazarus_train.objectives.base import Objective
from lazarus_train.run_dir.logs import RunLog


@dataclass(frozen=True)
class EvalSet:
    """A held-out set and the objective that is measured on it."""

    name: str
    data: HeldOutData
    objective: Objective[Any]


def is_due(config: TrainConfig, done: int, last: int) -> bool:
    """Whether an evaluation is due after `done` steps: before the first, every `eval_every`, and after the last.

    Args:
        config: Settings of the run.
        done: Steps done.
        last: Steps of the whole run.
    """
    return done in (0, last) or (config.eval_every is not None and done % config.eval_every == 0)


@dataclass(frozen=True)
class Evaluator:
    """The evaluations of one run.

    Args:
        sets: Held-out sets, measured in this order.
        config: Settings of the run, with the prompts that the model answers.
        encoder: Encodes prompts as the training data was encoded.
        is_text: Whether the model is trained on texts, not on conversations.
        state: The model in training.
        log: The results are written to it.
        watcher: Callbacks; may stop the evaluation.
        processes: The processes of the run; the first of them measures.
    """

    sets: Sequence[EvalSet]
    config: TrainConfig
    encoder: Encoder
    is_text: bool
    state: TrainState
    log: RunLog
    watcher: Watcher
    processes: ProcessGroup

    @property
    def prompts(self) -> tuple[str, ...]:
        """Prompts that the model answers."""
        return self.config.sample_prompts

    @property
    def draws_images(self) -> bool:
        """Whether the model draws images."""
        return self.config.sample_images is not None

    def run(self, done: int) -> bool:
        """Computes the results after `done` steps that are not in the logs yet.

        Returns:
            False if it was stopped because the run is to stop.
        """
        for each in self.sets:
            if not self.processes.any(self.log.is_measured(done, each.name)) and not self._measure(done, each):
                return False
        if self.prompts and self.processes.is_first and not self.log.has_answered(done):
            self._ask(done)
        if self.draws_images and self.processes.is_first and not self.log.has_images(done):
            self.log.images(sample_images(self.state.lm, self.config, done))
        return True

    def _measure(self, done: int, each: EvalSet) -> bool:
        state = self.state

        def goes_on(measured: int) -> bool:
            self.watcher.on_measure(measured, len(each.data.plan))
            return not self.watcher.should_stop()

        def found() -> HeldOut | None:
            return held_out(state.lm.model, each.objective, each.data, goes_on) if self.processes.is_first else None

        result, mean = found(), None
        if state.ema is not None:
            with state.averaged():
                mean = found()
        if self.processes.any(self.processes.is_first and (result is None or (state.ema is not None and mean is None))):
            return False
        if result is not None:
            self.log.held_out(done, each.name, result, mean)
            self.watcher.on_held_out(done, each.name, result)
        return True

    def _ask(self, done: int) -> None:
        found = {prompt: answer(self.state.lm, self.encoder, prompt, is_text=self.is_text) for prompt in self.prompts}
        self.log.answers(done, found)
        self.watcher.on_answers(done, found)
