"""The loss function of a run, and its batches. Both are built once, before the training loop.

The path of one row to its gradient: `PlanCursor` -> `share_rows` -> `BatchMaker` (`make_batch`,
`Objective.prepare`,
noise) -> `loss_fn` -> `LossGradients` -> `compute_gradients` -> `Optimizer.update`.
"""

import contextlib
import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lazarus_models.backend import mx
from lazarus_models.trees import evaluate
from lazarus_plan import BatchPlan
from lazarus_plan.cursor import RankStep
from lazarus_plan.plan import Row, Step
from lazarus_train.config import TrainConfig
from lazarus_train.cpu.thread_parallel import Replicas, share_rows
from lazarus_train.data.batches import Batch, make_batch
from lazarus_train.data.dataset import Dataset
from lazarus_train.distributed import ProcessGroup
from lazarus_train.engine.evaluation import ROWS_AT_ONCE
from lazarus_train.engine.gradients import LossFn
from lazarus_train.engine.precision import computing_in_bfloat16, in_bfloat16
from lazarus_train.layers.neftune import embedding_noise, noisy
from lazarus_train.objectives.base import Metrics, Objective, OwnBatches, Sums, Survey, step_group
from lazarus_train.objectives.surveys import settle

NOISE = "noise"
"""Name of the embedding noise among the random inputs of a batch."""


def make_loss_fn(objective: Objective[Any], *, mixed_precision: bool) -> LossFn:
    """The objective's loss, with embedding noise and mixed precision applied.

    Args:
        objective: The objective, bound to the training data.
        mixed_precision: Whether the model computes in bfloat16.
    """

    def loss_fn(model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        with contextlib.ExitStack() as stack:
            if NOISE in batch.random_inputs:
                stack.enter_context(noisy(model, batch.random_inputs[NOISE]))
            if mixed_precision:
                stack.enter_context(computing_in_bfloat16(model))
            return objective.loss(model, batch)

    return loss_fn


@dataclass(frozen=True)
class BatchMaker:
    """Makes the batches of a step with every input of the loss.

    Args:
        objective: The objective, bound to the training data.
        dataset: The training data.
        config: Settings of the run.
        width: Width D of the embeddings, for noise.
        threads: Number of threads that share a micro-batch.
    """

    objective: Objective[Any]
    dataset: Dataset
    config: TrainConfig
    width: int
    threads: int

    def micro_batch(self, rows: Sequence[Row], step: Step, statistics: Sums) -> list[Batch]:
        """One batch for each thread.

        Args:
            rows: Rows of the micro-batch, at least one.
            step: The step of these rows.
            statistics: Statistics of the step that the loss reads.
        """
        return [self._batch(part, step, statistics) for part in share_rows(rows, self.threads)]

    def plain(self, share: RankStep) -> list[Batch]:
        """All rows of this process's part of a step, without random inputs."""
        parts = [part for rows in share.micro_batches if rows for part in share_rows(rows, self.threads)]
        return [make_batch(part, self.dataset, share.step.row_len, len(share.step.rows)) for part in parts]

    def _batch(self, rows: Sequence[Row], step: Step, statistics: Sums) -> Batch:
        seed, alpha = self.config.seed, self.config.neftune_alpha
        batch = make_batch(rows, self.dataset, step.row_len, len(step.rows))
        batch = self.objective.prepare(batch, step_seed(seed, step.index, "draws"))
        inputs = {**batch.random_inputs, **statistics}
        if alpha is not None:
            inputs[NOISE] = embedding_noise(batch, self.width, alpha, step_seed(seed, step.index, "noise"))
        evaluate(inputs)  # before another thread reads it
        return replace(batch, random_inputs=inputs)


@dataclass(frozen=True)
class Statistics:
    """Statistics of a whole step that the loss needs, computed by a pass without dropout, noise or gradients.

    Args:
        survey: The statistics to compute; None if the loss needs none.
        plan: The plan of the run; gives the samples of each step.
        batches: Makes the batches.
        replicas: The model and its copies.
        processes: The processes of the run.
        micro_batch_rows: Rows per forward pass; None computes a whole step at once.
        mixed_precision: Whether the model computes in bfloat16.
    """

    survey: Survey | None
    plan: BatchPlan
    batches: BatchMaker
    replicas: Replicas
    processes: ProcessGroup
    micro_batch_rows: int | None
    mixed_precision: bool

    def of_step(self, share: RankStep) -> Sums:
        """The statistics of a step, the same on all processes.

        Args:
            share: This process's part of the step.
        """
        survey, model = self.survey, self.replicas.model
        if survey is None:
            return {}
        tokens = tokens_at_once(self.micro_batch_rows, share.step, self.replicas.threads)
        group = step_group(self.plan, share.step.index)
        own = OwnBatches(lambda: self.batches.plain(share), tokens, self.processes.rank, self.processes.size)
        batches = list(survey.batches(group, own))
        model.eval()
        self.replicas.refresh()
        compute: Callable[[Any, Batch], Sums] = functools.partial(survey.sums, group)
        found = self.replicas.map(in_bfloat16(compute) if self.mixed_precision else compute, batches)
        model.train()
        return settle(survey, group, found, self.processes)


def tokens_at_once(micro_batch_rows: int | None, step: Step, threads: int) -> int:
    """Tokens per forward pass of one thread, for passes over data that is not a step of the plan.

    Args:
        micro_batch_rows: Rows per forward pass of all threads; None computes a whole step at once.
        step: Step that gives the number of rows and the tokens per row.
        threads: Number of threads that share the rows.
    """
    rows = micro_batch_rows or min(len(step.rows), ROWS_AT_ONCE)
    return max(1, rows // threads) * step.row_len


def step_seed(seed: int, step: int, purpose: int | str) -> int:
    """A 64-bit seed for the random numbers of one step. Recomputing the step gives the same seed.

    Args:
        seed: Seed of the run.
        step: Index of the step, from 0.
        purpose: Name of the use of these numbers, or the rank of a process.
    """
    text = f"lazarus-train/1|step|{seed}|{step}|{purpose}"
    return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:8], "little")
