"""Linear layers with a low-rank update: LoRA, LoRA of a stack of experts, and DoRA.

I = inputs, O = outputs, R = rank, E = experts

Adapted from mlx-lm 0.32 (MIT License, Copyright © 2024 Apple Inc.), whose parameter names these layers keep.
"""

# MLX leaves its layers untyped:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from typing import Any

from lazarus_models.backend import mx, nn
from lazarus_models.components.switch_layers import QuantizedSwitchLinear, SwitchLinear


class LoRALinear(nn.Module):
    """y = W x + scale * B A x, with `lora_a` (I, R) and `lora_b` (R, O)."""

    def __init__(self, linear: nn.Module, *, rank: int, dropout: float, scale: float) -> None:
        """Wraps a linear layer; the output does not change, because `lora_b` is zero.

        Args:
            linear: An `nn.Linear` or `nn.QuantizedLinear`.
            rank: Rank of the update.
            dropout: Share of the inputs of A that training drops, in [0, 1).
            scale: Factor of the update.
        """
        super().__init__()
        outputs, inputs = _shape(linear)
        self.linear: Any = linear
        self.dropout = nn.Dropout(p=dropout)
        self.scale = scale
        self.lora_a = _uniform(inputs, (inputs, rank))
        self.lora_b = mx.zeros((rank, outputs))

    def __call__(self, x: mx.array) -> mx.array:
        update = (self.dropout(x) @ self.lora_a) @ self.lora_b
        return self.linear(x) + (self.scale * update).astype(x.dtype)

    def fuse(self) -> nn.Module:
        """A plain linear layer with the update added; quantized weights become floats."""
        weight = _weight(self.linear)
        update = ((self.scale * self.lora_b.T) @ self.lora_a.T).astype(weight.dtype)
        return _linear(weight + update, self.linear)


class LoRASwitchLinear(nn.Module):
    """LoRA of a stack of experts, with `lora_a` (E, R, I) and `lora_b` (E, O, R)."""

    def __init__(
        self, linear: SwitchLinear | QuantizedSwitchLinear, *, rank: int, dropout: float, scale: float
    ) -> None:
        """Wraps a stack of experts; see `LoRALinear`."""
        super().__init__()
        experts, outputs, inputs = linear.shape
        self.linear: Any = linear
        self.dropout = nn.Dropout(p=dropout)
        self.scale = scale
        self.lora_a = _uniform(inputs, (experts, rank, inputs))
        self.lora_b = mx.zeros((experts, outputs, rank))

    def __call__(self, x: mx.array, chosen: mx.array, *, is_sorted: bool = False) -> mx.array:
        update = self.dropout(x)
        for factor in (self.lora_a, self.lora_b):
            update = mx.gather_mm(update, factor.swapaxes(-1, -2), rhs_indices=chosen, sorted_indices=is_sorted)
        return self.linear(x, chosen, is_sorted=is_sorted) + (self.scale * update).astype(x.dtype)

    def fuse(self) -> SwitchLinear:
        """A plain stack with the updates added; quantized weights become floats."""
        is_quantized = isinstance(self.linear, QuantizedSwitchLinear)
        weight: mx.array = self.linear.dequantized() if is_quantized else self.linear.weight
        experts, outputs, inputs = weight.shape
        fused = SwitchLinear(inputs, outputs, experts, bias="bias" in self.linear)
        fused.weight = weight + ((self.scale * self.lora_b) @ self.lora_a).astype(weight.dtype)
        if "bias" in self.linear:
            fused.bias = self.linear.bias
        return fused


class DoRALinear(nn.Module):
    """LoRA whose rows have learned lengths `m` (O,) (arXiv 2402.09353)."""

    def __init__(self, linear: nn.Module, *, rank: int, dropout: float, scale: float) -> None:
        """Wraps a linear layer; see `LoRALinear`. `m` starts as the lengths of the rows of the weight."""
        super().__init__()
        outputs, inputs = _shape(linear)
        self.linear: Any = linear
        self.m = mx.linalg.norm(_weight(linear).astype(mx.float32), axis=1)
        self.dropout = nn.Dropout(p=dropout)
        self.scale = scale
        self.lora_a = _uniform(inputs, (inputs, rank))
        self.lora_b = mx.zeros((rank, outputs))

    def __call__(self, x: mx.array) -> mx.array:
        weight = _weight(self.linear)
        y = x @ weight.T
        update = (self.dropout(x) @ self.lora_a) @ self.lora_b
        y = y + (self.scale * update).astype(x.dtype)
        # The length of an adapted row counts as a constant for the gradient (section 4.3 of the paper).
        lengths = mx.stop_gradient(mx.linalg.norm(weight + (self.scale * self.lora_b.T) @ self.lora_a.T, axis=1))
        y = (self.m / lengths).astype(x.dtype) * y
        return y + self.linear.bias if "bias" in self.linear else y

    def fuse(self) -> nn.Module:
        """A plain linear layer with the update and the lengths applied; quantized weights become floats."""
        weight = _weight(self.linear)
        weight = weight + ((self.scale * self.lora_b.T) @ self.lora_a.T).astype(weight.dtype)
        scaled = (self.m / mx.linalg.norm(weight, axis=1))[:, None] * weight
        return _linear(scaled.astype(weight.dtype), self.linear)


def _shape(linear: Any) -> tuple[int, int]:
    """Outputs and inputs."""
    outputs, inputs = linear.weight.shape
    return outputs, inputs * 32 // linear.bits if isinstance(linear, nn.QuantizedLinear) else inputs


def _weight(linear: Any) -> mx.array:
    """The matrix (O, I) as floats."""
    if not isinstance(linear, nn.QuantizedLinear):
        return linear.weight
    return mx.dequantize(
        linear.weight,
        linear.scales,
        linear.get("biases"),
        group_size=linear.group_size,
        bits=linear.bits,
        mode=linear.mode,
    )


def _linear(weight: mx.array, like: Any) -> nn.Linear:
    """A linear layer with this matrix and the bias of another layer, if it has one."""
    outputs, inputs = weight.shape
    linear = nn.Linear(inputs, outputs, bias="bias" in like)
    linear.weight = weight
    if "bias" in like:
        linear.bias = like.bias
    return linear


def _uniform(inputs: int, shape: tuple[int, ...]) -> mx.array:
    """Initial values of A, uniform within 1 / sqrt(inputs)."""
    return mx.random.uniform(-(inputs**-0.5), inputs**-0.5, shape)
