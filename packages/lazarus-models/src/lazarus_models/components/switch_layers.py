"""Linear layers of experts: a stack of matrices, one of which multiplies each token.

E = experts, k = experts a token, I = inputs, O = outputs

Adapted from mlx-lm 0.32 (MIT License, Copyright © 2023 Apple Inc.), whose parameter names these layers keep.
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
# MLX leaves its layers untyped:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from typing import Any

from jaxtyping import Float, Integer

from lazarus_models.backend import mx, nn
from lazarus_models.ops.gather import gather_rows, permute_rows
from lazarus_models.ops.gradient_order import has_fixed_gradient_order
from lazarus_models.ops.swiglu import clamped_swiglu, swiglu

_SORTED_FROM = 64
"""Choices from which tokens are sorted by expert, so that each expert's matrix is read once."""


class SwitchLinear(nn.Module):
    """A stack of linear layers: `weight` (E, O, I), `bias` (E, O)."""

    def __init__(self, inputs: int, outputs: int, experts: int, *, bias: bool) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = mx.random.uniform(-bound, bound, (experts, outputs, inputs))
        if bias:
            self.bias = mx.zeros((experts, outputs))

    def __call__(self, x: mx.array, chosen: mx.array, *, is_sorted: bool = False) -> mx.array:
        """Multiplies each token by the matrices of its experts.

        Args:
            x: Tokens, float, (..., 1, 1, I), or (n, 1, I) if sorted.
            chosen: Experts, integer, (..., k), or (n,) if sorted.
            is_sorted: Whether `chosen` is ascending.
        """
        weight: mx.array = self["weight"].swapaxes(-1, -2)
        x = mx.gather_mm(x, weight, rhs_indices=chosen, sorted_indices=is_sorted)
        return x + mx.expand_dims(gather_rows(self["bias"], chosen), -2) if "bias" in self else x

    @property
    def shape(self) -> tuple[int, int, int]:
        """Experts, outputs, inputs."""
        experts, outputs, inputs = self.weight.shape
        return experts, outputs, inputs

    def to_quantized(self, group_size: int, bits: int, mode: str = "affine") -> "QuantizedSwitchLinear":
        """The same layer with quantized matrices; `nn.quantize` calls this.

        Args:
            group_size: Weights that share a scale.
            bits: Bits of a weight.
            mode: MLX's name of the format, such as `affine` or `mxfp4`.
        """
        layer = QuantizedSwitchLinear(self.weight, group_size, bits, mode)
        if "bias" in self:
            layer.bias = self.bias
        return layer


class QuantizedSwitchLinear(nn.Module):
    """A stack of linear layers with quantized matrices; it cannot be trained."""

    def __init__(self, weight: Float[mx.array, "E O I"], group_size: int, bits: int, mode: str) -> None:
        super().__init__()
        self.group_size, self.bits, self.mode = group_size, bits, mode
        self.weight, self.scales, *biases = mx.quantize(weight, group_size, bits, mode=mode)
        if biases:
            self.biases = biases[0]
        self.freeze()

    def __call__(self, x: mx.array, chosen: mx.array, *, is_sorted: bool = False) -> mx.array:
        """Multiplies each token by the matrices of its experts; see `SwitchLinear`."""
        x = mx.gather_qmm(  # dequantizes the chosen matrices within the product
            x,
            self["weight"],
            self["scales"],
            self.get("biases"),
            rhs_indices=chosen,
            transpose=True,
            group_size=self.group_size,
            bits=self.bits,
            mode=self.mode,
            sorted_indices=is_sorted,
        )
        return x + mx.expand_dims(self["bias"][chosen], -2) if "bias" in self else x

    @property
    def shape(self) -> tuple[int, int, int]:
        """Experts, outputs, inputs."""
        experts, outputs, words = self.weight.shape
        return experts, outputs, words * 32 // self.bits

    def dequantized(self) -> Float[mx.array, "E O I"]:
        """The matrices as floats."""
        return mx.dequantize(
            self.weight, self.scales, self.get("biases"), group_size=self.group_size, bits=self.bits, mode=self.mode
        )


class SwitchGLU(nn.Module):
    """Gated MLPs of several experts."""

    def __init__(
        self, width: int, inside: int, experts: int, *, bias: bool, clamp: tuple[float, float] | None = None
    ) -> None:
        """Makes the layers.

        Args:
            width: Inputs and outputs of each expert.
            inside: Width inside each expert.
            experts: Number of experts.
            bias: Whether every matrix has a bias.
            clamp: (alpha, limit) of the clamped SwiGLU of gpt-oss; None for SwiGLU.
        """
        super().__init__()
        self._clamp = clamp
        self.gate_proj: Any = SwitchLinear(width, inside, experts, bias=bias)
        self.up_proj: Any = SwitchLinear(width, inside, experts, bias=bias)
        self.down_proj: Any = SwitchLinear(inside, width, experts, bias=bias)

    def __call__(self, x: Float[mx.array, "... D"], chosen: Integer[mx.array, "... k"]) -> Float[mx.array, "... k D"]:
        """The output of each chosen expert for each token.

        Args:
            x: Tokens, float, (..., D).
            chosen: Experts of each token, in [0, E), (..., k).
        """
        x = mx.expand_dims(x, (-2, -3))  # (..., 1, 1, D): one row a token, broadcast over its k experts
        chosen = mx.stop_gradient(chosen)
        # Unsorted, the gradients are scattered sums. Rows of one token are answers being generated, without gradients.
        is_decoding = chosen.ndim > 2 and chosen.shape[1] == 1
        if chosen.size < _SORTED_FROM and (is_decoding or not has_fixed_gradient_order()):
            return self._computed(x, chosen, is_sorted=False).squeeze(-2)
        flat = chosen.flatten()
        order = mx.argsort(flat)
        inverse = mx.argsort(order)  # brings the outputs back to the order of the tokens
        if has_fixed_gradient_order():
            copies = mx.broadcast_to(x, (*chosen.shape, *x.shape[-2:])).flatten(0, -3)  # one row a choice
            x = self._computed(permute_rows(copies, order, inverse), flat[order], is_sorted=True)
            return mx.unflatten(permute_rows(x, inverse, order), 0, chosen.shape).squeeze(-2)
        x = x.flatten(0, -3)[order // chosen.shape[-1]]  # one row a choice, by expert
        x = self._computed(x, flat[order], is_sorted=True)[inverse]
        return mx.unflatten(x, 0, chosen.shape).squeeze(-2)

    def _computed(self, x: mx.array, chosen: mx.array, *, is_sorted: bool) -> mx.array:
        up = self.up_proj(x, chosen, is_sorted=is_sorted)
        gate = self.gate_proj(x, chosen, is_sorted=is_sorted)
        inside = swiglu(gate, up) if self._clamp is None else clamped_swiglu(gate, up, *self._clamp)
        return self.down_proj(inside, chosen, is_sorted=is_sorted)
