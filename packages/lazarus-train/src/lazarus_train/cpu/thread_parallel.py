"""A model in several threads: each computes a share of the rows with an object of its own, on the same weights.

Two threads with a matrix product of one thread each do more than one thread with products of two: exponentials, norms and
everything else that MLX computes on one core are computed on both. The shares are dealt by the rows' costs and their
gradients are added in the order of the shares, so that a run gives the same bits whichever thread is done first; another
number of threads gives other last bits.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, cast

from lazarus_models.backend import mx, nn
from lazarus_models.trees import evaluate, flatten
from lazarus_plan import Row, assign
from lazarus_train.data.batches import Batch
from lazarus_train.engine.compiled import CompiledGradients

Found = dict[str, mx.array]
LossSum = Callable[[Any, Batch], tuple[mx.array, Mapping[str, mx.array]]]
"""Loss and metrics of a model on a batch, summed over its units."""
MEANS = "means/"
"""What names of loss and metrics begin with when they travel among the gradients; no parameter's does."""
_ValueAndGrad = Callable[[Batch], tuple[tuple[mx.array, Found], Any]]


def share_rows(rows: Sequence[Row], threads: int) -> list[list[Row]]:
    """Rows dealt to threads by their costs; none is empty.

    Args:
        rows: Of a micro-batch.
        threads: How many compute.
    """
    shares = assign(rows, min(threads, len(rows)), "snake")
    return [[rows[place] for place in share] for share in shares]


class Replicas:
    """A model and its copies, one a thread.

    Args:
        model: Whose gradients are wanted.
        threads: How many compute at the same time. With dropout one: MLX's own generator is not made for several.
        compiles: Whether batches of the same shapes go by one graph, by one thread.
    """

    def __init__(self, model: nn.Module, threads: int, *, compiles: bool = False) -> None:
        self._models = [model, *(copy.deepcopy(model) for _ in range(threads - 1))]
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._compiles = compiles and threads == 1
        self._compiled: dict[tuple[LossSum, tuple[str, ...]], CompiledGradients] = {}

    @property
    def model(self) -> nn.Module:
        """The model itself."""
        return self._models[0]

    @property
    def threads(self) -> int:
        """How many compute."""
        return len(self._models)

    def refresh(self) -> None:
        """Gives the copies the model's weights as they are now; they share memory."""
        first, *others = self._models
        for other in others:
            other.update(first.parameters())  # pyright: ignore[reportUnknownMemberType] (`dict` without its types)
            other.train(first.training)

    def gradients(self, loss_sum: LossSum, metrics: tuple[str, ...], shares: Sequence[Batch], units: mx.array) -> Found:
        """Gradients of a loss, with loss and metrics beside them, summed over shares.

        Args:
            loss_sum: What is minimised.
            metrics: Names of what it tells beside the loss.
            shares: At most one a thread.
            units: Of the whole step: loss, metrics and gradients are divided by them.
        """
        compute = partial(self._compute, loss_sum, metrics)
        pairs = list(zip(self._models, shares, strict=False))
        if self._pool is None or len(pairs) == 1:
            parts = [compute(model, batch, units) for model, batch in pairs]
        else:
            waiting = [self._pool.submit(compute, model, batch, units) for model, batch in pairs]
            parts = [each.result() for each in waiting]
        total = parts.pop(0)
        for part in parts:
            total = {
                name: total.pop(name) + part.pop(name) for name in list(part)
            }  # taken out: the sum takes their place
        return total

    def map(self, compute: Callable[[Any, Batch], Any], batches: Sequence[Batch]) -> list[Any]:
        """What a function of a model and a batch gives for every batch, without gradients.

        Args:
            compute: Gives arrays; they are computed before another thread reads them.
            batches: Dealt to the threads in turn; one is computed by each at a time.
        """

        def found(thread: int) -> list[Any]:
            values: list[Any] = []
            for batch in batches[thread :: self.threads]:
                values.append(compute(self._models[thread], batch))
                evaluate(values[-1])
            return values

        if self._pool is None or len(batches) == 1:
            return [value for values in map(found, range(self.threads)) for value in values]
        by_thread = [each.result() for each in [self._pool.submit(found, thread) for thread in range(self.threads)]]
        return [by_thread[place % self.threads][place // self.threads] for place in range(len(batches))]

    def _compute(
        self, loss_sum: LossSum, metrics: tuple[str, ...], model: nn.Module, batch: Batch, units: mx.array
    ) -> Found:
        """A share, computed before another thread reads it: what is not, belongs to the thread that asked for it."""
        if self._compiles:
            found = self._graph(loss_sum, metrics)(batch, units)
        else:
            found = _gradients(loss_sum, metrics, model, batch, units)
        evaluate(found)
        return found

    def _graph(self, loss_sum: LossSum, metrics: tuple[str, ...]) -> CompiledGradients:
        """The compiled gradients, kept for the steps to come."""
        key = loss_sum, metrics
        if key not in self._compiled:
            self._compiled[key] = CompiledGradients(partial(_gradients, *key), self.model)
        return self._compiled[key]


def _gradients(loss_sum: LossSum, metrics: tuple[str, ...], model: nn.Module, batch: Batch, units: mx.array) -> Found:
    def told(batch: Batch) -> tuple[mx.array, Found]:
        loss, beside = loss_sum(model, batch)
        mean = loss / units
        return mean, {f"{MEANS}loss": mean} | {MEANS + name: beside[name] / units for name in metrics}

    value_and_grad = cast("_ValueAndGrad", nn.value_and_grad(model, told))  # pyright: ignore[reportUnknownMemberType] (untyped in MLX)
    (_, beside), tree = value_and_grad(batch)
    return {**flatten(tree), **beside}
