"""Gradient checkpointing: intermediate results of a function are recomputed for the gradient instead of being kept.

On a GPU this is `mx.checkpoint`. On a CPU `mx.checkpoint` saves no memory, because MLX keeps every array computed during
differentiation. There, the value is computed immediately and returned as an array without a graph, and the gradient is
computed immediately from the inputs.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

from lazarus_models.backend import mx, on_cpu
from lazarus_models.ops.cpu.numpy_views import fresh, view
from lazarus_models.trees import evaluate

Function = Callable[..., Sequence[mx.array]]
"""A function from several arrays to several arrays."""


def recomputed(function: Function, *arrays: mx.array, at_once: bool | None = None) -> list[mx.array]:
    """The values of a function, whose intermediate results are not kept for the gradient.

    Args:
        function: Function of arrays only. Other values that it reads must not change before the gradient is computed.
        arrays: Its arguments; each gets a gradient.
        at_once: Compute the values immediately, which is impossible in a compiled graph. None: on a CPU only. Ignored
            unless all arrays are float32.
    """
    if at_once is None:
        at_once = on_cpu()
    if at_once and all(array.dtype == mx.float32 for array in arrays):
        return list(cast("Sequence[mx.array]", _detached(function)(*arrays)))
    checkpointed: Any = mx.checkpoint(function)
    return list(checkpointed(*arrays))


def detached(arrays: Sequence[mx.array]) -> tuple[mx.array, ...]:
    """Evaluates arrays and returns them without their graphs; arrays that are not float32 are returned unchanged."""
    evaluate(list(arrays))
    return tuple(fresh(view(each)) if each.dtype == mx.float32 else each for each in arrays)


def _detached(function: Function) -> Any:
    @mx.custom_function
    def value(*arrays: Any) -> Any:
        return detached(function(*arrays))

    @value.vjp  # pyright: ignore[reportUnknownMemberType, reportUntypedFunctionDecorator] (untyped in MLX)
    def slopes(primals: Any, cotangents: Any, _: Any) -> Any:
        inputs = [primals] if isinstance(primals, mx.array) else list(primals)
        of_values = [cotangents] if isinstance(cotangents, mx.array) else list(cotangents)

        def listed(*arrays: mx.array) -> list[mx.array]:
            return list(function(*arrays))

        found = detached(mx.vjp(listed, inputs, of_values)[1])  # pyright: ignore[reportUnknownMemberType] (untyped in MLX)
        return found[0] if len(found) == 1 else found

    return value
