"""Steps whose answers were all cut or rejected: they train nothing, and their mean reward of 0 looks like a bad model."""

from collections import Counter
from collections.abc import Sequence

from lazarus_train.objectives.policy.base import PolicySettings
from lazarus_train.rollouts.record import TRUNCATED, Rollout

PATIENCE = 5
"""Steps in a row without an answer to train on, after which a run warns."""


class EmptySteps:
    """Counts the steps of one command that trained nothing, and says why.

    Args:
        settings: Settings of the objective.
    """

    def __init__(self, settings: PolicySettings) -> None:
        self._settings = settings
        self._statuses: Counter[str] = Counter()
        self._steps = 0
        self._empty = 0
        self._in_a_row = 0
        self._has_warned = False

    def warning(self, rollouts: Sequence[Rollout]) -> str | None:
        """Counts a step. Returns a warning after `PATIENCE` empty steps in a row, once; else None.

        Args:
            rollouts: All roll-outs of the step.
        """
        self._steps += 1
        if any(each.is_whole for each in rollouts):
            self._in_a_row = 0
            return None
        self._statuses.update(each.status for each in rollouts)
        self._empty += 1
        self._in_a_row += 1
        if self._has_warned or self._in_a_row < PATIENCE:
            return None
        self._has_warned = True
        return f"warning: the last {PATIENCE} steps trained nothing: {self._reasons()}"

    def at_end(self) -> str | None:
        """A warning if the run warned before, or if no step of the command trained anything; else None."""
        if not self._empty or not (self._has_warned or self._empty == self._steps):
            return None
        return f"warning: {self._empty:,} of {self._steps:,} steps of this command trained nothing: {self._reasons()}"

    def _reasons(self) -> str:
        """The shares of cut and rejected answers in the empty steps, and what to do about each."""
        count, cut = self._statuses.total(), self._statuses[TRUNCATED]
        found: list[str] = []
        if cut:
            found.append(f"{cut / count:.0%} of their answers were cut: {self._way_out_of_cuts()}")
        rejected = Counter({status: number for status, number in self._statuses.items() if status != TRUNCATED})
        if rejected:
            ((status, _),) = rejected.most_common(1)
            source = "environment" if self._settings.reward is None else "reward"
            found.append(
                f"{rejected.total() / count:.0%} of their answers were rejected, most with the status {status!r:.80}: check `{source}` "
                f"{self._settings.reward or self._settings.environment}"
            )
        return "; ".join(found)

    def _way_out_of_cuts(self) -> str:
        limit = f"raise `max_new_tokens` ({self._settings.max_new_tokens})"
        if self._settings.environment is None:
            return f"{limit}, or begin with a model that ends its answers"
        return f"{limit} or `turns` ({self._settings.turns}), or set `unfinished` to score"
