"""Plain layers in place of quantized ones, for machines on which products of quantized weights are slow.

MLX has no fast kernel for them on a CPU. Measured with SmolLM2-135M on two cores (CPU seconds): reading 128 tokens takes 0.5 s in
float32, 11 s in 8 bits and 12 s in 4 bits; a token of the answer 0.07 s, 0.10 s and 0.10 s. The numbers of the weights are the same.
"""

import os
from typing import Any

from lazarus_models.backend import mx, nn, on_cpu
from lazarus_models.components.embedding import Embedding
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.trees import evaluate, modules, replace_modules

_SHARE = 0.5
"""Largest part of the machine's memory that the plain weights may take."""


def dequantize(lm: LoadedModel) -> LoadedModel:
    """Replaces quantized linear layers and embeddings by plain float32 layers with the same numbers. Experts stay quantized.

    Args:
        lm: The model, changed in place; adapters stay.
    """
    layers = _quantized(lm.model)
    for name, layer in layers.items():  # one by one, so that memory has one layer twice
        replace_modules(lm.model, {name: _plain(layer)})
    return lm


def plain_bytes(lm: LoadedModel) -> int:
    """Bytes of the plain layers that `dequantize` would make."""
    return 4 * sum(layer.weight.size * 32 // layer.bits for layer in _quantized(lm.model).values())


def fits_plain(lm: LoadedModel) -> bool:
    """Whether `dequantize` pays: the model has quantized layers, the device is a CPU, and the memory is there."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return on_cpu() and 0 < plain_bytes(lm) < _SHARE * memory


def _quantized(model: nn.Module) -> dict[str, Any]:
    return {
        name: layer
        for name, layer in modules(model).items()
        if isinstance(layer, nn.QuantizedLinear | nn.QuantizedEmbedding)
    }


def _plain(layer: Any) -> nn.Module:
    weight = mx.dequantize(
        layer.weight,
        layer.scales,
        layer.get("biases"),
        group_size=layer.group_size,
        bits=layer.bits,
        mode=layer.mode,
    ).astype(mx.float32)
    evaluate(weight)
    if isinstance(layer, nn.QuantizedEmbedding):
        made: nn.Module = Embedding(1, 1)
    else:
        made = nn.Linear(1, 1, bias="bias" in layer)
        if "bias" in layer:
            made.bias = layer.bias
    made.weight = weight
    return made
