"""A model in several threads: each computes a share of the rows with an object of its own, on the same weights.

Two threads with a matrix product of one thread each do more than one thread with products of two: exponentials, norms and
everything else that MLX computes on one core are computed on both. The shares are dealt by the rows' costs and their
gradients are added in the order of the shares, so that a run gives the same bits whichever thread is done first; another
number of threads gives other last bits.
"""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lazarus_models.backend import nn
from lazarus_models.trees import evaluate
from lazarus_plan.plan import Row
from lazarus_plan.shard import assign

Item = TypeVar("Item")
Value = TypeVar("Value")


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

    def each(self, compute: Callable[[nn.Module, Item], Value], items: Sequence[Item]) -> list[Value]:
        """The values of a function of a model and an item, one item per thread, in the order of the items.

        Args:
            compute: Computes its arrays before it returns them: an array that is not computed belongs to its thread.
            items: At most one per thread.
        """
        pairs = list(zip(self._models, items, strict=False))
        if self._pool is None or len(pairs) == 1:
            return [compute(model, item) for model, item in pairs]
        waiting = [self._pool.submit(compute, model, item) for model, item in pairs]
        return [each.result() for each in waiting]

    def map(self, compute: Callable[[nn.Module, Item], Value], items: Sequence[Item]) -> list[Value]:
        """The values of a function of a model and an item, in the order of the items.

        Args:
            compute: Gives arrays; they are computed before another thread reads them.
            items: Any number; thread t takes items t, t + threads, ...
        """

        def found(thread: int) -> list[Value]:
            values: list[Value] = []
            for item in items[thread :: self.threads]:
                values.append(compute(self._models[thread], item))
                evaluate(values[-1])
            return values

        if self._pool is None or len(items) == 1:
            return [value for values in map(found, range(self.threads)) for value in values]
        by_thread = [each.result() for each in [self._pool.submit(found, thread) for thread in range(self.threads)]]
        return [by_thread[place % self.threads][place // self.threads] for place in range(len(items))]
