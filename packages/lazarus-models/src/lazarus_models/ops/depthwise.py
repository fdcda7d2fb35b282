"""Causal depthwise convolution, with a gradient that adds in a fixed order.

B = rows, T = tokens a row, C = channels, K = tokens of the kernel

cuDNN may choose kernels whose gradient adds in any order. The kernels of state-space models have four tokens, so the
gradient is four shifted products.
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
# MLX leaves its functions untyped:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from typing import Any, cast

from jaxtyping import Float

from lazarus_models.backend import mx
from lazarus_models.ops.gradient_order import has_fixed_gradient_order


def depthwise_convolution(x: Float[mx.array, "B TK C"], weight: Float[mx.array, "C K 1"]) -> Float[mx.array, "B T C"]:
    """Each channel convolved with its own kernel, without padding.

    Args:
        x: Inputs, float, (B, T + K - 1, C).
        weight: Kernels, float, (C, K, 1).
    """
    return cast("mx.array", _convolved(x, weight)) if has_fixed_gradient_order() else _plain(x, weight)


def _plain(x: mx.array, weight: mx.array) -> mx.array:
    return mx.conv1d(x, weight, groups=x.shape[-1])


@mx.custom_function
def _convolved(x: Any, weight: Any) -> Any:
    return _plain(x, weight)


@_convolved.vjp  # pyright: ignore[reportUntypedFunctionDecorator] (untyped in MLX)
def _slopes(primals: Any, cotangent: Any, _: Any) -> Any:
    x, weight = primals
    slope = cotangent.astype(mx.float32)
    taps, tokens = weight.shape[1], cotangent.shape[1]
    of_x = mx.zeros(x.shape)
    of_taps: list[mx.array] = []
    for tap in range(taps):
        # y[t] contains weight[tap] * x[t + tap].
        shifted = slope * weight[:, tap, 0].astype(mx.float32)
        of_x = of_x + mx.pad(shifted, [(0, 0), (tap, taps - 1 - tap), (0, 0)])
        of_taps.append((slope * x[:, tap : tap + tokens].astype(mx.float32)).sum(axis=(0, 1)))
    return of_x.astype(x.dtype), mx.stack(of_taps, axis=1)[..., None].astype(weight.dtype)
