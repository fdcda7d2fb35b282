"""SwiGLU (arXiv 2002.05202): the product of a gate's SiLU and a second projection."""

# MLX leaves its activations untyped:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from functools import partial

from lazarus_models.backend import mx, nn


@partial(mx.compile, shapeless=True)
def swiglu(gate: mx.array, up: mx.array) -> mx.array:
    """SiLU(gate) * up.

    Args:
        gate: Gate projection, float, of any shape.
        up: Second projection, of the same shape.
    """
    return nn.silu(gate) * up


@partial(mx.compile, shapeless=True)
def clamped_swiglu(gate: mx.array, up: mx.array, alpha: float, limit: float) -> mx.array:
    """The SwiGLU of gpt-oss: gate * sigmoid(alpha * gate) * (up + 1), with bounded inputs.

    Args:
        gate: Gate projection; values above `limit` become `limit`.
        up: Second projection, of the same shape; clipped to [-limit, limit].
        alpha: Steepness of the gate; 1.702 in the published models.
        limit: Bound of both inputs; 7 in the published models.
    """
    gate, up = mx.minimum(gate, limit), mx.clip(up, -limit, limit)
    return (up + 1.0) * (gate * mx.sigmoid(alpha * gate))
