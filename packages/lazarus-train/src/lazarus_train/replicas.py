"""A model in several threads: each computes a share of the rows with an object of its own, on the same weights.

Two threads with a matrix product of one thread each do more than one thread with products of two: exponentials, norms and
everything else that MLX computes on one core are computed on both. The shares are dealt by the rows' costs and their
gradients are added in the order of the shares, so that a run gives the same bits whichever thread is done first; another
number of threads gives other last bits.
"""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from lazarus_models.backend import mx, nn
from lazarus_models.parameters import evaluate, flatten
from lazarus_plan import Row, assign
from lazarus_train.batches import Batch

Found = dict[str, mx.array]
_Told = Callable[[nn.Module, Batch], tuple[mx.array, Found]]
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
    """

    def __init__(self, model: nn.Module, threads: int) -> None:
        self._models = [model, *(copy.deepcopy(model) for _ in range(threads - 1))]
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

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

    def gradients(self, told: _Told, shares: Sequence[Batch]) -> Found:
        """Gradients of the first number that `told` gives, with what it gives beside it, summed over shares.

        Args:
            told: Of a model and a batch.
            shares: At most one a thread.
        """
        pairs = list(zip(self._models, shares, strict=False))
        if self._pool is None or len(pairs) == 1:
            parts = [_gradients(told, model, batch) for model, batch in pairs]
        else:
            waiting = [self._pool.submit(_gradients, told, model, batch) for model, batch in pairs]
            parts = [each.result() for each in waiting]
        total = parts.pop(0)
        for part in parts:
            total = {
                name: total.pop(name) + part.pop(name) for name in list(part)
            }  # taken out: the sum takes their place
        return total


def _gradients(told: _Told, model: nn.Module, batch: Batch) -> Found:
    def of_batch(batch: Batch) -> tuple[mx.array, Found]:
        return told(model, batch)

    value_and_grad = cast("_ValueAndGrad", nn.value_and_grad(model, of_batch))  # pyright: ignore[reportUnknownMemberType] (untyped in MLX)
    (_, beside), tree = value_and_grad(batch)
    found = {**flatten(tree), **beside}
    evaluate(found)  # before another thread reads it: what is not computed yet belongs to the thread that asked for it
    return found
