"""Data parallelism over threads: each thread computes a share of the rows with its own copy of the model on shared
weights.

Two threads with single-threaded matrix products are faster than one thread with two-threaded products, because MLX
computes exponentials, norms and other operations on one core. Rows are assigned by cost, and gradients are added in
the order of the shares. So a run gives the same bits in any order of completion. Another number of threads changes
the last bits.
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
    """Rows assigned to threads by cost; no share is empty.

    Args:
        rows: Rows of a micro-batch.
        threads: Number of threads.
    """
    # "snake" assigns sorted costs back and forth, so that shares cost about the same.
    shares = assign(rows, min(threads, len(rows)), "snake")
    return [[rows[place] for place in share] for share in shares]


class Replicas:
    """A model and its copies, one per thread.

    Args:
        model: The model to differentiate.
        threads: Number of threads. Must be 1 with dropout: MLX's generator is not thread-safe.
    """

    def __init__(self, model: nn.Module, threads: int) -> None:
        # Copies have modules of their own, since tracing changes a module's arrays.
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
        """Updates the copies to the model's current weights; they share memory."""
        first, *others = self._models
        for other in others:
            # Assigns references to the same arrays: no weight is copied.
            other.update(first.parameters())  # pyright: ignore[reportUnknownMemberType] (`dict` without its types)
            other.train(first.training)

    def each(self, compute: Callable[[nn.Module, Item], Value], items: Sequence[Item]) -> list[Value]:
        """Values of a function of a model and an item, one item per thread, in the order of the items.

        Args:
            compute: Must evaluate its arrays before it returns: an unevaluated array belongs to its thread.
            items: At most one per thread.
        """
        pairs = list(zip(self._models, items, strict=False))
        if self._pool is None or len(pairs) == 1:
            return [compute(model, item) for model, item in pairs]
        # Results are collected in submission order, so sums do not depend on which thread ends first.
        waiting = [self._pool.submit(compute, model, item) for model, item in pairs]
        return [each.result() for each in waiting]

    def map(self, compute: Callable[[nn.Module, Item], Value], items: Sequence[Item]) -> list[Value]:
        """Values of a function of a model and an item, in the order of the items.

        Args:
            compute: Returns arrays; they are evaluated before another thread reads them.
            items: Any number; thread t takes items t, t + threads, ...
        """

        def found(thread: int) -> list[Value]:
            # Thread t takes every threads-th item from t on.
            values: list[Value] = []
            for item in items[thread :: self.threads]:
                values.append(compute(self._models[thread], item))
                evaluate(values[-1])
            return values

        if self._pool is None or len(items) == 1:
            return [value for values in map(found, range(self.threads)) for value in values]
        by_thread = [each.result() for each in [self._pool.submit(found, thread) for thread in range(self.threads)]]
        # Undo the striding: item i is value i // threads of thread i % threads.
        return [by_thread[place % self.threads][place // self.threads] for place in range(len(items))]
