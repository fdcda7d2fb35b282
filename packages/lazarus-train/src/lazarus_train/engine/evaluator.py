"""What a run is examined with while it learns: held-out rows that are measured, prompts that are answered.

An examination stands in the run's logs. What stands there is not done again, so a run that a kill cut off in the middle of one
comes to the same logs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lazarus_tokenkit import Encoder
from lazarus_train.callbacks.base import Watcher
from lazarus_train.config import TrainConfig
from lazarus_train.distributed import Ranks
from lazarus_train.engine.evaluation import HeldOut, HeldOutData, held_out
from lazarus_train.engine.sample_generations import answer
from lazarus_train.engine.state import Learner
from lazarus_train.objectives.base import Task
from lazarus_train.run_dir.logs import Journal


@dataclass(frozen=True)
class EvalSet:
    """Held-out rows, and what is measured of them."""

    name: str
    data: HeldOutData
    task: Task


def is_due(config: TrainConfig, done: int, last: int) -> bool:
    """Whether a run is examined after so many steps: before the first, every so often, after the last."""
    return done in (0, last) or (config.eval_every is not None and done % config.eval_every == 0)


@dataclass(frozen=True)
class Exam:
    """The examination of one run.

    Args:
        sets: What is measured, in this order.
        prompts: What is asked.
        encoder: Of the training data; prompts are put in its words.
        is_text: Whether the model is trained on texts, not on conversations.
        learner: Is examined.
        journal: Takes what was found.
        watcher: Is told, and may give up.
        ranks: The processes of the run; the first of them measures.
    """

    sets: Sequence[EvalSet]
    prompts: Sequence[str]
    encoder: Encoder
    is_text: bool
    learner: Learner
    journal: Journal
    watcher: Watcher
    ranks: Ranks

    def take(self, done: int) -> bool:
        """Does what the logs do not hold yet of the examination after so many steps.

        Returns:
            False where it was given up because the run is to stop.
        """
        for each in self.sets:
            if not self.ranks.any(self.journal.is_measured(done, each.name)) and not self._measure(done, each):
                return False
        if self.prompts and self.ranks.is_first and not self.journal.has_answered(done):
            self._ask(done)
        return True

    def _measure(self, done: int, each: EvalSet) -> bool:
        learner = self.learner

        def goes_on(measured: int) -> bool:
            self.watcher.on_measure(measured, len(each.data.plan))
            return not self.watcher.should_stop()

        def found() -> HeldOut | None:
            return held_out(learner.lm.model, each.task, each.data, goes_on) if self.ranks.is_first else None

        result, mean = found(), None
        if learner.ema is not None:
            with learner.averaged():
                mean = found()
        if self.ranks.any(self.ranks.is_first and (result is None or (learner.ema is not None and mean is None))):
            return False
        if result is not None:
            self.journal.held_out(done, each.name, result, mean)
            self.watcher.on_held_out(done, each.name, result)
        return True

    def _ask(self, done: int) -> None:
        found = {prompt: answer(self.learner.lm, self.encoder, prompt, is_text=self.is_text) for prompt in self.prompts}
        self.journal.answers(done, found)
        self.watcher.on_answers(done, found)
