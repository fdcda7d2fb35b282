"""Functions whose intermediate results are computed again for the gradient instead of being kept.

On a GPU this is `mx.checkpoint`. On a CPU it does not save memory: while a function is differentiated, MLX keeps every
array that was computed, whether the gradient needs it or not. So there the value is computed at once and handed on as an
array that depends on nothing, and the gradient is computed at once from the inputs.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

from lazarus_models.backend import mx
from lazarus_models.ops.cpu.numpy_views import fresh, view
from lazarus_models.trees import evaluate

Function = Callable[..., Sequence[mx.array]]
"""Several arrays of several arrays."""


def recomputed(function: Function, *arrays: mx.array, at_once: bool | None = None) -> list[mx.array]:
    """The values of a function; of the way to them nothing is kept.

    Args:
        function: Of arrays alone. What else it reads must be the same when the gradient is computed.
        arrays: Its arguments, each of which gets a gradient.
        at_once: Whether values are computed at once, which no compiled graph allows; by default on a CPU. Arrays of another
            type than float32 never are.
    """
    if at_once is None:
        at_once = mx.default_device().type == mx.cpu
    if at_once and all(array.dtype == mx.float32 for array in arrays):
        return list(cast("Sequence[mx.array]", _detached(function)(*arrays)))
    checkpointed: Any = mx.checkpoint(function)
    return list(checkpointed(*arrays))


def detached(arrays: Sequence[mx.array]) -> tuple[mx.array, ...]:
    """Arrays, computed now, without what they were computed from; an array of another type than float32 stays as it is."""
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
