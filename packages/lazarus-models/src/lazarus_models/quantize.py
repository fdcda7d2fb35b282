"""Matrices in 2 to 8 bits: a scale and a bias for every group of weights, in mlx-lm's format."""

from collections.abc import Mapping
from typing import Any

from lazarus_models.backend import nn
from lazarus_models.config import Quantization
from lazarus_models.tensors import Stored


def quantize_like(model: nn.Module, quantization: Quantization, stored: Mapping[str, Stored]) -> None:
    """Gives a model the quantized layers that a checkpoint has; their values are yet to be loaded."""

    def settings(name: str, layer: nn.Module) -> bool | dict[str, Any]:
        if not hasattr(layer, "to_quantized") or f"{name}.scales" not in stored:
            return False
        return quantization.layers.get(name, True)

    nn.quantize(  # pyright: ignore[reportUnknownMemberType] (the stub leaves the predicate's dict untyped)
        model,
        group_size=quantization.group_size,
        bits=quantization.bits,
        mode=quantization.mode,
        class_predicate=settings,
    )
