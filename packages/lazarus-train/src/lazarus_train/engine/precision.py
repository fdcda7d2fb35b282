"""Mixed precision (Micikevicius et al. 2018, arXiv 1710.03740): a step computes in bfloat16, from weights kept in float32.

An update is often smaller than the distance between two numbers of bfloat16 (1/256 of their size) and would be rounded away.
So weights, moments, gradients and sums of losses stay in float32; what is measured is measured in float32 too. bfloat16
reaches as far as float32, so no loss is scaled.
"""

import contextlib
from collections.abc import Generator

from lazarus_models.backend import mx, nn
from lazarus_models.trees import flatten, unflatten


@contextlib.contextmanager
def computing_in_bfloat16(model: nn.Module) -> Generator[None]:
    """A model's weights in bfloat16 for a while; gradients flow to those in float32."""
    kept = flatten(model.parameters())
    cast_weights(model, mx.bfloat16)
    try:
        yield
    finally:
        model.update(unflatten(kept))  # pyright: ignore[reportUnknownMemberType] (`dict` without its types)


def cast_weights(model: nn.Module, dtype: mx.Dtype) -> None:
    """Casts a model's weights in place; packed ones stay as they are."""
    cast = {
        name: each.astype(dtype)
        for name, each in flatten(model.parameters()).items()
        if mx.issubdtype(each.dtype, mx.floating)
    }
    model.update(unflatten(cast))  # pyright: ignore[reportUnknownMemberType] (`dict` without its types)
