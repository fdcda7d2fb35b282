"""Held-out loss: fixed rows, fixed order, fixed draws; means weighted by units."""

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np

from lazarus_models.backend import mx
from lazarus_models.trees import evaluate
from lazarus_plan import BatchPlan, PlanConfig, build_plan
from lazarus_tokenkit import Tokenizer
from lazarus_train.data.batches import Batch, make_batch
from lazarus_train.data.dataset import Dataset
from lazarus_train.errors import SetupError
from lazarus_train.objectives.base import OwnBatches, Sums, Task, held_out_group
from lazarus_train.objectives.loss_normalizer import units_by_step
from lazarus_train.objectives.settings import ObjectiveSettings
from lazarus_train.objectives.surveys import settle

ROWS_AT_ONCE = 8
"""Rows computed together; more is no faster on a CPU and takes memory for the logits."""
_LARGEST_EXPONENT = math.log(sys.float_info.max)
_SEED = 0
"""Of draws for held-out samples: the same at every measurement."""
_Z = 1.96
"""Standard deviations of a normal distribution on either side that hold 95 % of it."""


class HeldOutData(NamedTuple):
    """Rows that are not trained on.

    Args:
        dataset: The rows.
        plan: In which they are measured.
        units: Of each of its steps.
        label_bytes: UTF-8 bytes of the texts that the labels stand for.
    """

    dataset: Dataset
    plan: BatchPlan
    units: tuple[int, ...]
    label_bytes: int


@dataclass(frozen=True)
class HeldOut:
    """What a model makes of rows it was not trained on.

    Args:
        unit: What the loss is a mean over.
        units: How many there are.
        total: Sum of the loss.
        metrics: Means of what the objective tells beside it.
        label_bytes: UTF-8 bytes of the texts that the labels stand for.
        baseline: Accuracy of always giving the commonest answer; None where none is given.
    """

    unit: str
    units: int
    total: float
    metrics: Mapping[str, float]
    label_bytes: int
    baseline: float | None = None

    @property
    def loss(self) -> float:
        """Mean of a unit; of tokens in nats."""
        return self.total / self.units

    @property
    def perplexity(self) -> float:
        """exp(nats a token); infinite beyond what a float holds."""
        return math.exp(self.loss) if self.loss < _LARGEST_EXPONENT else math.inf

    @property
    def bits_per_byte(self) -> float:
        """Comparable between tokenizers; NaN where the labels spell nothing, being ends of turns only."""
        return self.total / math.log(2) / self.label_bytes if self.label_bytes else math.nan

    @property
    def accuracy(self) -> float | None:
        """Share of answers that are right, or of pairs in the right order; None where nothing is chosen."""
        found = [value for name, value in self.metrics.items() if name.endswith("accuracy")]
        return found[0] if found else None

    @property
    def interval(self) -> tuple[float, float]:
        """95 % of the accuracy (Wilson 1927).

        >>> held_out = HeldOut("sample", 100, 0.0, {"accuracy": 0.5}, 0)
        >>> [round(end, 3) for end in held_out.interval]
        [0.404, 0.596]
        """
        assert self.accuracy is not None, "asked for only where something is chosen"
        share, count = self.accuracy, self.units
        middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
        half = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)) / (1 + _Z**2 / count)
        return middle - half, middle + half

    def in_words(self) -> str:
        """Loss, what is told beside it, and of how many, in one line."""
        if self.unit == "token":
            told = f"perplexity {self.perplexity:.2f}, {self.bits_per_byte:.3f} bits a byte"
            return f"{self.loss:.4f} nats a token, {told}, {self.units:,} tokens"
        told = "".join(f", {name.replace('_', ' ')} {value:.3f}" for name, value in self.metrics.items())
        if self.accuracy is not None:
            low, high = self.interval
            told += f" (95 %: {low:.3f} to {high:.3f}; without a model {self.baseline:.3f})"
        return f"{self.loss:.4f} a {self.unit}{told}, {self.units:,} {self.unit}s"


def plan_held_out(dataset: Dataset, objective: ObjectiveSettings, tokenizer: Tokenizer, name: str) -> HeldOutData:
    """The fixed rows that held-out samples are measured in; none is left out.

    Args:
        dataset: The rows.
        objective: What is measured. Masked diffusion has one sample a row, for how many are masked is drawn by row.
        tokenizer: Tells how many bytes the labels spell.
        name: Of the data, for messages.

    Raises:
        SetupError: No token carries loss, or a sample is not what the objective learns from.
    """
    row_len = max(1, int(dataset.lengths.length.max()))
    mode = "padded" if objective.kind == "diffusion" else "packed"
    config = PlanConfig(token_budget=ROWS_AT_ONCE * row_len, row_len=row_len, mode=mode, zero_length="exclude")
    if not dataset.loss_mask.any():
        raise SetupError(f"{name}: no row has a token that carries loss; nothing to measure", "LR-E110")
    plan = build_plan(dataset.lengths, config)
    units = units_by_step(plan, dataset, objective, may_be_empty=True)
    if not units.any():
        raise SetupError(f"{name}: no row has a token that carries loss; nothing to measure", "LR-E110")
    return HeldOutData(dataset, plan, tuple(units.tolist()), _label_bytes(dataset, tokenizer))


def held_out(
    model: Any,
    task: Task,
    data: HeldOutData,
    goes_on: Callable[[int], bool] = lambda _: True,
) -> HeldOut | None:
    """Measures a model on every held-out sample, each by itself.

    Args:
        model: In the mode it is left in.
        task: What is measured.
        data: `plan_held_out` of the rows.
        goes_on: Given the plan's steps measured so far, before each; false gives up.

    Returns:
        What was found, or None where it was given up.
    """
    was_training = model.training
    model.eval()
    sums = np.zeros(1 + len(task.metrics))
    try:
        surveyed = _survey(model, task, data, goes_on)
        if surveyed is None:
            return None
        for index in range(len(data.plan)):
            if not goes_on(index):
                return None
            batch = _batch(data, index)
            loss, told = task.measure(model, replace(batch, drawn=surveyed), seed=_SEED)
            found = [loss, *(told[name] for name in task.metrics)]
            evaluate(found)
            sums += [cast("float", each.item()) for each in found]
    finally:
        model.train(was_training)
    units = sum(data.units)
    metrics = {name: total / units for name, total in zip(task.metrics, sums[1:].tolist(), strict=True)}
    return HeldOut(task.unit, units, float(sums[0]), metrics, data.label_bytes, task.baseline)


def _survey(model: Any, task: Task, data: HeldOutData, goes_on: Callable[[int], bool]) -> Mapping[str, mx.array] | None:
    """What the loss takes over all held-out samples, or None where it was given up."""
    if task.survey is None:
        return {}
    group, found = held_out_group(data.plan), list[Sums]()
    own = OwnBatches(
        lambda: map(partial(_batch, data), range(len(data.plan))), data.plan.step(0).row_len * ROWS_AT_ONCE
    )
    for batch in task.survey.batches(group, own):
        if not goes_on(0):
            return None
        found.append(task.survey.sums(group, model, batch))
        evaluate(found[-1])
    return settle(task.survey, group, found)


def _batch(data: HeldOutData, index: int) -> Batch:
    step = data.plan.step(index)
    return make_batch(step.rows, data.dataset, step.row_len)


def _label_bytes(dataset: Dataset, tokenizer: Tokenizer) -> int:
    """Bytes of the texts that are predicted: all that carry loss but first tokens, which nothing predicts without a bos.

    Not those of the decoded labels: decoding drops the space that SentencePiece tokenizers put in front of a text.
    """
    firsts = dataset.splits[:-1][np.diff(dataset.splits) > 0]
    unpredicted = dataset.ids[firsts[dataset.loss_mask[firsts]]]
    texts = [tokenizer.decode([token], skip_special=True) for token in unpredicted.tolist()]
    return dataset.loss_bytes - sum(len(text.encode()) for text in texts if "\ufffd" not in text)
