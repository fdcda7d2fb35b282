"""Held-out loss: fixed rows, fixed order, no randomness; means weighted by tokens."""

import math
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
        """exp(nats a token)."""
        return math.exp(self.loss)

    @property
    def bits_per_byte(self) -> float:
        """Comparable between tokenizers."""
        return self.nats / math.log(2) / self.label_bytes


def plan_held_out(dataset: Dataset) -> BatchPlan:
    """The fixed rows that held-out samples are measured in; none is left out."""
    row_len = max(1, int(dataset.lengths.length.max()))
    return build_plan(
        dataset.lengths, PlanConfig(token_budget=ROWS_AT_ONCE * row_len, row_len=row_len, zero_length="exclude")
    )


def held_out(model: nn.Module, dataset: Dataset, plan: BatchPlan, tokenizer: Tokenizer) -> HeldOut:
    """Measures a model on every held-out sample, each by itself."""
    was_training = model.training
    model.eval()
    nats, labels = 0.0, 0
    for index in range(len(plan)):
        step = plan.step(index)
        nats += cast("float", packed_nll(model, make_batch(step.rows, dataset, step.row_len)).item())
        labels += label_count(step.rows, dataset)
    model.train(was_training)
    return HeldOut(nats, labels, _label_bytes(dataset, tokenizer))


def _label_bytes(dataset: Dataset, tokenizer: Tokenizer) -> int:
    total = 0
    for index in range(len(dataset)):
        ids, loss_mask = dataset.sample(index)
        total += len(tokenizer.decode(ids[1:][loss_mask[1:]].tolist(), skip_special=True).encode())
    return total
