"""Mixed precision (Micikevicius et al. 2018, arXiv 1710.03740): steps compute in bfloat16 from float32 weights.

An update is often smaller than the spacing of bfloat16 numbers (1/256 of their size) and would be rounded away. So
weights, moments, gradients and loss sums stay in float32. Evaluation uses float32 too. bfloat16 has the range of
float32, so the loss needs no scaling.
"""

import contextlib
from collections.abc import Callable, Generator
from typing import Any, Concatenate, ParamSpec, TypeVar

from lazarus_models.backend import mx, nn
from lazarus_models.trees import flatten, unflatten

More = ParamSpec("More")
Value = TypeVar("Value")


@contextlib.contextmanager
def computing_in_bfloat16(model: nn.Module) -> Generator[None]:
    """Context manager: the model's weights are bfloat16; gradients flow to the float32 weights."""
    kept = flatten(model.parameters())
    cast_weights(model, mx.bfloat16)
    try:
        yield
    finally:
        model.update(unflatten(kept))  # pyright: ignore[reportUnknownMemberType] (`dict` without its types)


def in_bfloat16(compute: Callable[Concatenate[Any, More], Value]) -> Callable[Concatenate[Any, More], Value]:
    """A function of a model and more that computes in bfloat16.

    Args:
        compute: The function. It evaluates its arrays before it returns.
    """

    def computed(model: Any, *args: More.args, **named: More.kwargs) -> Value:
        with computing_in_bfloat16(model):
            return compute(model, *args, **named)

    return computed


def cast_weights(model: nn.Module, dtype: mx.Dtype) -> None:
    """Casts a model's weights in place; quantized weights are unchanged.

    Args:
        model: Any model; its floating-point arrays are replaced.
        dtype: Floating-point type.
    """
    cast = {
        name: each.astype(dtype)
        for name, each in flatten(model.parameters()).items()
        if mx.issubdtype(each.dtype, mx.floating)
    }
    model.update(unflatten(cast))  # pyright: ignore[reportUnknownMemberType] (`dict` without its types)
