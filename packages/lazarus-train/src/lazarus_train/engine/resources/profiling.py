"""Connects a profile with MLX: forward and backward passes, batches on the device, memory, NVTX ranges."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from lazarus_models.backend import mx, nn
from lazarus_models.trees import evaluate
from lazarus_train.callbacks.profiling import Device, Memory, Profiler
from lazarus_train.data.batches import Batch
from lazarus_train.engine.gradients import Found, GradientFn, LossFn


def profiled_device() -> Device:
    """Memory as MLX counts it. With a GPU of NVIDIA and the package nvtx, phases are NVTX ranges."""
    return Device(
        reset_peak=mx.reset_peak_memory,
        memory=_memory,
        mark=_nvtx_ranges() if mx.default_device().type == mx.DeviceType.gpu else _no_range,
    )


def profiled_batches(
    profiler: Profiler, batches: Iterable[Batch | Sequence[Batch]]
) -> Iterator[Batch | Sequence[Batch]]:
    """Batches, with the time to make them and to bring them to the device.

    Args:
        profiler: The profile.
        batches: Micro-batches of a step.
    """
    iterator = iter(batches)
    while True:
        with profiler.phase("read batch"):
            batch = next(iterator, None)
        if batch is None:
            return
        if profiler.is_active:
            with profiler.phase("host to device"):
                evaluate([_arrays(each) for each in ([batch] if isinstance(batch, Batch) else batch)])
        yield batch


class ProfiledGradients:
    """Gradients with the times of their forward and backward passes.

    Args:
        make: Makes the gradients from a loss function.
        loss_fn: The loss.
        profiler: The profile.
        splits: Whether the passes can be told apart; a compiled graph computes both at once.
    """

    def __init__(
        self, make: Callable[[LossFn], GradientFn], loss_fn: LossFn, profiler: Profiler, *, splits: bool
    ) -> None:
        self._profiler, self._loss_fn, self._splits = profiler, loss_fn, splits
        self._plain = make(loss_fn)
        self._make = make

    @property
    def means(self) -> tuple[str, ...]:
        """Names of the loss and the metrics."""
        return self._plain.means

    def __call__(self, model: nn.Module, batch: Batch, units: mx.array) -> Found:
        """Gradients, loss and metrics; arguments as in `GradientFn`."""
        profiler = self._profiler
        if not profiler.is_active:
            return self._plain(model, batch, units)
        begin = profiler.now()
        if not self._splits:
            found = self._plain(model, batch, units)
            profiler.add("forward and backward", begin, profiler.now())
            return found
        middle = begin

        def evaluated(model: Any, batch: Batch) -> tuple[mx.array, Mapping[str, mx.array]]:
            nonlocal middle
            loss, metrics = self._loss_fn(model, batch)
            evaluate(loss)  # its graph stays for the backward pass, so nothing is computed twice
            middle = profiler.now()
            return loss, metrics

        found = self._make(evaluated)(model, batch, units)
        profiler.add("forward", begin, middle)
        profiler.add("backward", middle, profiler.now())
        return found


def _arrays(batch: Batch) -> list[Any]:
    return [batch.ids, batch.segment_ids, batch.is_label, batch.places, *batch.random_inputs.values()]


def _memory() -> Memory:
    """The memory; the peak counts allocations alone, and a phase may have none."""
    active = mx.get_active_memory()
    return Memory(active, max(active, mx.get_peak_memory()))


def _no_range(_: str) -> AbstractContextManager[object]:
    return nullcontext()


def _nvtx_ranges() -> Callable[[str], AbstractContextManager[object]]:
    if find_spec("nvtx") is None:
        return _no_range
    nvtx: Any = import_module("nvtx")
    return lambda name: nvtx.annotate(name, domain="lazarus")
