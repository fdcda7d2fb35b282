"""What the training loop asks of an objective: `Task`, and `Survey` for losses that need a look at the whole step first.

A task gives sums over units (labels, pairs, samples); the loop divides by the units of the whole step. P = parts.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lazarus_models.backend import mx
from lazarus_plan import BatchPlan
from lazarus_train.data.batches import Batch
from lazarus_train.objectives.preference import Metrics

Sums = Mapping[str, mx.array]
"""Sums by name; the same names whatever was summed."""


@dataclass(frozen=True)
class Group:
    """Samples that a loss takes its means over: those of a step on all ranks, or all that are held out.

    Args:
        number: Of the step in its plan; 0 for held-out samples.
        samples: In the order of rows and tokens; held-out ones in the order of the data.
        lender: Where the group holds one distinct sample: another one, whose answers are the mismatched ones.
    """

    number: int
    samples: tuple[int, ...]
    lender: int | None = None


class Survey(Protocol):
    """What a loss takes over a whole group before its gradient: a pass without gradients, then a few numbers."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sums; none where the numbers need no pass."""
        ...

    def batches(self, group: Group, own: "OwnBatches") -> Iterable[Batch]:
        """What this process computes of the pass.

        Args:
            group: The samples of all processes.
            own: This process's share of it.
        """
        ...

    def sums(self, group: Group, model: Any, batch: Batch) -> Sums:
        """Sums over one batch of the pass."""
        ...

    def settle(self, group: Group, sums: Sums) -> Mapping[str, mx.array]:
        """The numbers that `Task.loss` finds in `Batch.drawn`, from the sums over the whole group."""
        ...


@dataclass(frozen=True)
class OwnBatches:
    """The share of a group that one process computes.

    Args:
        rows: Makes the batches of its rows, as the loss gets them.
        tokens: Tokens computed at once, padding included.
        rank: Of the process.
        size: Number of processes.
    """

    rows: Callable[[], Iterable[Batch]]
    tokens: int
    rank: int = 0
    size: int = 1


class Task(Protocol):
    """What is learnt."""

    @property
    def unit(self) -> str:
        """What the loss is a mean over, in one word."""
        ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of what is told beside the loss."""
        ...

    @property
    def baseline(self) -> float | None:
        """Accuracy without a model: of chance, or of always giving the commonest answer; None where nothing is chosen."""
        ...

    @property
    def is_static(self) -> bool:
        """Whether arrays alone tell what is computed of a batch, so that one graph serves all of the same shapes."""
        ...

    @property
    def survey(self) -> Survey | None:
        """What the loss takes over a whole step; None where every unit counts by itself."""
        ...

    def draw(self, batch: Batch, seed: int) -> Batch:
        """The batch with all that chance decides about its loss.

        Args:
            batch: Some rows of a step.
            seed: Of the step: what is drawn for a row is decided by it and the row's number in the step, whatever the
                row is computed with.
        """
        ...

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Loss and metrics, summed over the units of a batch.

        Args:
            model: In training or not.
            batch: From `draw`, with what `survey` settled in `drawn`.
        """
        ...

    def measure(self, model: Any, batch: Batch, seed: int) -> tuple[mx.array, Metrics]:
        """Loss and metrics of held-out rows, with as little chance in them as can be.

        Args:
            model: Not in training.
            batch: As `make_batch` gives it, with what `survey` settled in `drawn`.
            seed: What is drawn for a sample is decided by it and the sample's number, whatever it is computed with.
        """
        ...


class Certain(ABC):
    """A task in which nothing is drawn, and parts of rows decide what is computed."""

    is_static: bool = False

    @property
    def survey(self) -> Survey | None:
        """None: every unit counts by itself."""
        return None

    def draw(self, batch: Batch, seed: int) -> Batch:
        """The batch as it is."""
        return batch

    @abstractmethod
    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """`Task.loss`."""

    def measure(self, model: Any, batch: Batch, seed: int) -> tuple[mx.array, Metrics]:
        """The loss."""
        return self.loss(model, batch)


def step_group(plan: BatchPlan, step: int) -> Group:
    """The samples of a step.

    A step of one distinct sample borrows the answers of the nearest other one before it in the plan, or after it.
    """
    first, last = int(plan.step_splits[step]), int(plan.step_splits[step + 1])
    samples = tuple(plan.sample[first:last].tolist())
    if len(set(samples)) > 1:
        return Group(step, samples)
    for around in (plan.sample[:first][::-1], plan.sample[last:]):
        others = around[around != samples[0]]
        if len(others):
            return Group(step, samples, int(others[0]))
    return Group(step, samples)


def held_out_group(plan: BatchPlan) -> Group:
    """All samples of a plan of held-out rows, in the order of the data: it does not depend on how they share rows."""
    return Group(0, tuple(np.unique(plan.sample).tolist()))
