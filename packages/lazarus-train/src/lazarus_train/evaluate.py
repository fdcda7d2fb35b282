"""Held-out loss: fixed rows, fixed order, no randomness; means weighted by tokens."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from lazarus_models.backend import nn
from lazarus_plan import BatchPlan, PlanConfig, build_plan
from lazarus_tokenkit import Tokenizer
from lazarus_train.batches import label_count, make_batch
from lazarus_train.dataset import Dataset
from lazarus_train.step import packed_nll

ROWS_AT_ONCE = 8
"""Rows computed together; more is no faster on a CPU and takes memory for the logits."""
_LARGEST_EXPONENT = math.log(sys.float_info.max)


@dataclass(frozen=True)
class HeldOut:
    """What a model makes of rows it was not trained on.

    Args:
        nats: Sum of the labels' negative log-likelihoods.
        labels: Tokens that carry loss.
        label_bytes: UTF-8 bytes that they spell.
    """

    nats: float
    labels: int
    label_bytes: int

    @property
    def loss(self) -> float:
        """Nats a token."""
        return self.nats / self.labels

    @property
    def perplexity(self) -> float:
        """exp(nats a token); infinite beyond what a float holds."""
        return math.exp(self.loss) if self.loss < _LARGEST_EXPONENT else math.inf

    @property
    def bits_per_byte(self) -> float:
        """Comparable between tokenizers; NaN where the labels spell nothing, being ends of turns only."""
        return self.nats / math.log(2) / self.label_bytes if self.label_bytes else math.nan


def plan_held_out(dataset: Dataset) -> BatchPlan:
    """The fixed rows that held-out samples are measured in; none is left out."""
    row_len = max(1, int(dataset.lengths.length.max()))
    return build_plan(
        dataset.lengths, PlanConfig(token_budget=ROWS_AT_ONCE * row_len, row_len=row_len, zero_length="exclude")
    )


def held_out(
    model: nn.Module,
    dataset: Dataset,
    plan: BatchPlan,
    tokenizer: Tokenizer,
    goes_on: Callable[[int], bool] = lambda _: True,
) -> HeldOut | None:
    """Measures a model on every held-out sample, each by itself.

    Args:
        model: In the mode it is left in.
        dataset: Rows with at least one token that carries loss.
        plan: `plan_held_out` of them.
        tokenizer: Tells how many bytes the labels spell.
        goes_on: Given the plan's steps measured so far, before each; false gives up.

    Returns:
        What was found, or None where it was given up.
    """
    was_training = model.training
    model.eval()
    try:
        nats, labels = 0.0, 0
        for index in range(len(plan)):
            if not goes_on(index):
                return None
            step = plan.step(index)
            nats += cast("float", packed_nll(model, make_batch(step.rows, dataset, step.row_len)).item())
            labels += label_count(step.rows, dataset)
    finally:
        model.train(was_training)
    return HeldOut(nats, labels, _label_bytes(dataset, tokenizer))


def _label_bytes(dataset: Dataset, tokenizer: Tokenizer) -> int:
    total = 0
    for index in range(len(dataset)):
        ids, loss_mask = dataset.sample(index)
        total += len(tokenizer.decode(ids[1:][loss_mask[1:]].tolist(), skip_special=True).encode())
    return total
