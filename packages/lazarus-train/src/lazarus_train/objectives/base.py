"""The `Objective` protocol: everything that a run needs from a loss. One file of this folder defines one objective.

A run uses an objective in this order:

1. `loss_normalizer` checks the data against the plan and gives the denominator of each step.
2. `sequence_head` decides whether the model predicts scores instead of tokens.
3. `bind` gives the objective the data, the tokenizer and, if `reference_need` is not None, a reference model.
4. For each step: `survey` (one pass without gradients, if the loss needs statistics of the whole step), `prepare`,
`loss`.
5. For held-out data: `measure`.

Losses are sums over units (labels, pairs or samples). The training step divides them by the units of the whole
step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

from lazarus_train.objective_registry import ObjectiveSettings, objective_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from lazarus_models.backend import mx
    from lazarus_plan import BatchPlan
    from lazarus_tokenkit import Tokenizer
    from lazarus_train.data.batches import Batch
    from lazarus_train.data.dataset import Dataset
    from lazarus_train.objectives.sequence_head import SequenceHead


Metrics: TypeAlias = "dict[str, mx.array]"
"""Sums of metrics by name."""
Sums: TypeAlias = "Mapping[str, mx.array]"
"""Sums by name; every batch of a survey gives the same names."""
Settings = TypeVar("Settings", bound=ObjectiveSettings)


@dataclass(frozen=True)
class Group:
    """Samples that a loss computes statistics over: all samples of a step on all processes, or all held-out samples.

    Args:
        number: Index of the step in its plan; 0 for held-out samples.
        samples: Sample ids in the order of rows and tokens; held-out ones in the order of the data.
        lender: If the group has one distinct sample: the sample whose answers are used as mismatched answers.
    """

    number: int
    samples: tuple[int, ...]
    lender: int | None = None


@dataclass(frozen=True)
class OwnBatches:
    """The part of a group that one process computes.

    Args:
        rows: Makes the batches of this process's rows, as the loss gets them.
        tokens: Tokens per forward pass, padding included.
        rank: Rank of the process, from 0.
        size: Number of processes.
    """

    rows: Callable[[], Iterable[Batch]]
    tokens: int
    rank: int = 0
    size: int = 1


@runtime_checkable
class Survey(Protocol):
    """Statistics of a whole group that a loss needs before its gradient: a pass without gradients, then a few numbers."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sums; empty if the numbers need no forward pass."""
        ...

    def batches(self, group: Group, own: OwnBatches) -> Iterable[Batch]:
        """The batches that this process computes.

        Args:
            group: The samples of all processes.
            own: This process's part of it.
        """
        ...

    def sums(self, group: Group, model: Any, batch: Batch) -> Sums:
        """Sums over one batch of the pass.

        Args:
            group: The samples of all processes.
            model: The model, in evaluation mode.
            batch: One of `batches`.
        """
        ...

    def settle(self, group: Group, sums: Sums) -> Mapping[str, mx.array]:
        """The numbers that `Objective.loss` reads from `Batch.random_inputs`.

        Args:
            group: The samples of all processes.
            sums: Sums over the whole group.
        """
        ...


@runtime_checkable
class Reference(Protocol):
    """Log-probabilities of a reference model."""

    def __call__(self, model: Any, batch: Batch) -> mx.array:
        """Log-probability of each part of a batch, summed over its labels, without gradient; float32 (P,).

        Args:
            model: The model in training, for references that are made from it.
            batch: Any rows of the data.
        """
        ...

    def mismatched(self, model: Any, batch: Batch, group: Group) -> mx.array:
        """Log-probabilities for a batch of `mismatched_batches`, float32 (P,). Parts are numbered across the
        examples of the group.

        Args:
            model: The model in training, for references that are made from it.
            batch: A batch of `mismatched_batches`.
            group: The group of the examples.
        """
        ...


@dataclass(frozen=True)
class ReferenceNeed:
    """Which reference an objective compares the model with.

    Args:
        source: `cached` computes the log-probabilities once and keeps them in the run's folder; `copy` loads a second model;
            `adapters-off` computes the model without its adapters.
        mismatched: Whether mismatched prompts and answers are computed too.
    """

    source: Literal["cached", "copy", "adapters-off"]
    mismatched: bool = False


@dataclass(frozen=True)
class Bindings:
    """Everything an objective is bound to before it computes.

    Args:
        dataset: Training or held-out data.
        tokenizer: The tokenizer that encoded it.
        head: Result of `sequence_head` for the training data.
        reference: The reference; None if `reference_need` is None.
    """

    dataset: Dataset
    tokenizer: Tokenizer
    head: SequenceHead | None = None
    reference: Reference | None = None


class Objective(ABC, Generic[Settings]):
    """Base class of all objectives. A subclass must define `settings_type` and `loss`; the rest has defaults.

    Args:
        settings: The objective's settings.
    """

    settings_type: ClassVar[type[ObjectiveSettings]]
    """Class of the settings; its `kind` is the name of the objective."""
    unit: str = "token"
    """What the loss is a mean over, in one word."""
    metrics: tuple[str, ...] = ()
    """Names of the metrics that `loss` and `measure` return."""
    baseline: float | None = None
    """Accuracy of a constant or random answer; None if the objective has no accuracy."""
    token_ids: tuple[int, ...] = ()
    """Token ids that the objective puts into rows, such as a mask; the model must have them."""
    is_static: bool = False
    """Whether `loss` reads arrays only, never `Batch.parts`: then one compiled graph serves all batches of one shape."""
    is_on_policy: bool = False
    """Whether the rows of a step are prompts, and the loss is computed on answers that the run generates."""
    held_out_mode: Literal["packed", "padded"] = "packed"
    """Whether held-out samples share rows (`packed`) or have one row each (`padded`)."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = cast("Settings", settings or self.settings_type.model_validate({}))

    @property
    def reference_need(self) -> ReferenceNeed | None:
        """The reference that the loss compares with; None if it needs none."""
        return None

    @property
    def survey(self) -> Survey | None:
        """Statistics of a whole step that the loss needs; None if each unit's loss is independent."""
        return None

    def check(self) -> None:
        """Checks what the settings name outside the run, before anything is written. The default checks nothing.

        Raises:
            SetupError: Something is not there.
        """

    def check_start(self, most_units: int) -> None:
        """Refuses settings that would have no effect in a new run. The default refuses nothing.

        Args:
            most_units: Units of the step that has the most (see `loss_normalizer`).

        Raises:
            SetupError: A setting has no effect.
        """

    def reward_digests(self) -> dict[str, str]:
        """SHA-256 of each file of the reward, 64 hex, by name. The default has no reward."""
        return {}

    def changed_reward(self, recorded: Mapping[str, str] | None) -> Path | str | None:
        """A file of the reward that is not as the run recorded it. The default has no reward.

        Args:
            recorded: Digests in the record of the run; None compares nothing.
        """
        return None

    def loss_normalizer(self, plan: BatchPlan, dataset: Dataset, *, may_be_empty: bool = False) -> NDArray[np.int64]:
        """Checks the data, and counts the units of each step. The loss of a step is divided by them.

        The default counts label tokens.

        Args:
            plan: The steps.
            dataset: Samples of the plan.
            may_be_empty: Whether a step may have no unit. Held-out steps may.

        Returns:
            Units of each step, int64 (S,).

        Raises:
            SetupError: A sample does not fit the objective, or a step has no unit.
        """
        from lazarus_train.objectives.loss_normalizer import labels_by_step

        return labels_by_step(plan, dataset, may_be_empty=may_be_empty)

    def sequence_head(self, dataset: Dataset, tokenizer: Tokenizer) -> SequenceHead | None:
        """The scores that the model predicts for a sequence; None keeps the language-model head.

        Args:
            dataset: The training data.
            tokenizer: The tokenizer that encoded it.
        """
        return None

    def warnings(self, dataset: Dataset, head: SequenceHead | None) -> Iterable[str]:
        """Warnings about settings that are allowed but probably wrong.

        Args:
            dataset: The training data.
            head: Result of `sequence_head`.
        """
        return ()

    def bind(self, bindings: Bindings) -> Objective[Any]:
        """The objective with everything that its loss reads. The default returns the objective itself.

        Args:
            bindings: Data, tokenizer, head and reference.

        Raises:
            SetupError: The data does not fit the objective.
        """
        return self

    def prepare(self, batch: Batch, seed: int) -> Batch:
        """Adds random inputs to a batch, such as masks.

        Args:
            batch: Some rows of a step.
            seed: Seed of the step. The inputs of a row may depend on the seed and on the row's index in the step only, so that
                micro-batches and processes do not change them.
        """
        return batch

    @abstractmethod
    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Loss and metrics, summed over the units of a batch.

        Args:
            model: The model, in training or evaluation mode.
            batch: From `prepare`, with the numbers of `survey` in `random_inputs`.
        """

    def measure(self, model: Any, batch: Batch, seed: int) -> tuple[mx.array, Metrics]:
        """Loss and metrics of held-out rows. The default is `loss`, which suits objectives without random inputs.

        Args:
            model: The model, in evaluation mode.
            batch: As `make_batch` gives it, with the numbers of `survey` in `random_inputs`.
            seed: Random inputs of a sample may depend on the seed and the sample's id only.
        """
        return self.loss(model, batch)


def make_objective(settings: ObjectiveSettings) -> Objective[Any]:
    """The objective for the given settings, not bound to data.

    Raises:
        SetupError: No package provides its kind.
    """
    return objective_type(settings.kind)(settings)


def step_group(plan: BatchPlan, step: int) -> Group:
    """The samples of a step.

    A step of one distinct sample uses the answers of the nearest other sample before it in the plan, or after it.

    Args:
        plan: The plan that contains the step.
        step: Index of the step, from 0.
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
    """All samples of a held-out plan, in the order of the data. The order does not depend on packing."""
    return Group(0, tuple(sorted(set(plan.sample.tolist()))))
