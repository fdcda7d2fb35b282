"""The tensors of a model as it computes: quantized ones as floats, adapters added to their weights."""

# MLX leaves its layers untyped:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from collections.abc import Callable
from typing import Any

from lazarus_introspect.site_table import decoder_of
from lazarus_models.adapters import lora_layers
from lazarus_models.backend import mx, nn
from lazarus_models.components import QuantizedSwitchLinear
from lazarus_models.trees import modules, weights

_QUANTIZED = (nn.QuantizedLinear, nn.QuantizedEmbedding, QuantizedSwitchLinear)
_CODED = ("weight", "scales", "biases")
"""Tensors of a quantized layer that together are its weight."""


def effective_tensors(model: Any) -> dict[str, Callable[[], mx.array]]:
    """The tensors of a model by their Hugging Face name, each computed when it is called: sorted by name.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
    """
    decoder = decoder_of(model)
    adapted = lora_layers(decoder)
    quantized = {name: layer for name, layer in modules(decoder).items() if isinstance(layer, _QUANTIZED)}
    inside = tuple(f"{name}." for name in adapted)
    found: dict[str, Callable[[], mx.array]] = {}
    for name, tensor in weights(decoder).items():
        owner, _, leaf = name.rpartition(".")
        if name.startswith(inside) or (owner in quantized and leaf in _CODED):
            continue
        found[name] = lambda tensor=tensor: tensor
    for name, layer in adapted.items():
        for leaf in ("weight", *(["bias"] if _has_bias(layer) else [])):
            found[f"{name}.{leaf}"] = lambda layer=layer, leaf=leaf: layer.fuse()[leaf]
    for name, layer in quantized.items():
        if not name.startswith(inside):
            found[f"{name}.weight"] = lambda layer=layer: _dense(layer)
    return dict(sorted(found.items()))


def _has_bias(layer: Any) -> bool:
    return "bias" in layer["linear"]


def _dense(layer: Any) -> mx.array:
    if isinstance(layer, QuantizedSwitchLinear):
        return layer.dequantized()
    return mx.dequantize(
        layer.weight, layer.scales, layer.get("biases"), group_size=layer.group_size, bits=layer.bits, mode=layer.mode
    )
