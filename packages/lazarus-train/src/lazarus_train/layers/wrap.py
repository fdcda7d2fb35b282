"""Wraps layers of a model for training, in one fixed order, so that all wrappers take effect together.

1. Low memory (`cpu.low_memory_layers`): innermost. It replaces the computation of single layers: linear, embedding,
norm, MLP, block.
2. Gradient checkpointing (`layers.gradient_checkpointing`): around each block, low-memory or not.
3. Noise (`layers.neftune`): outermost, on the output of the embedding, low-memory or not.

A wrapped layer keeps its weights and their names. Its class becomes a subclass of its former class; layers of other
models do not change. Layers must be frozen before they are wrapped: a frozen layer needs no low-memory gradient.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, cast

from lazarus_models.backend import nn
from lazarus_models.trees import modules
from lazarus_train.cpu.low_memory_layers import low_memory_kind
from lazarus_train.layers.gradient_checkpointing import Recomputed
from lazarus_train.layers.neftune import Noisy, embedding_of

if TYPE_CHECKING:
    from lazarus_models.components import Block, Decoder


@dataclass(frozen=True)
class Wrapping:
    """The wrappers of a model.

    Args:
        low_memory: Use CPU layers that store few arrays for the gradient.
        gradient_checkpointing: Recompute the activations of blocks for the gradient.
        noise: Add noise to the embeddings in training (NEFTune).
        drops: Whether adapters use dropout.
    """

    low_memory: bool = False
    gradient_checkpointing: bool = False
    noise: bool = False
    drops: bool = False


def wrap_layers(model: nn.Module, wrapping: Wrapping) -> None:
    """Wraps the layers of a model in place, in the order that this module states.

    Args:
        model: The model with its adapters and frozen layers, not wrapped.
        wrapping: The wrappers.
    """
    if wrapping.low_memory:
        for layer in modules(model).values():
            kind = low_memory_kind(layer, drops=wrapping.drops)
            if kind is not None:
                layer.__class__ = kind
    if wrapping.gradient_checkpointing:
        for block in cast("Decoder", model).layers:
            block.__class__ = cast("type[Block]", _around(Recomputed, type(block)))
    if wrapping.noise:
        embedding = embedding_of(model)
        embedding.__class__ = _around(Noisy, type(embedding))
        cast("Noisy", embedding).add(None)


@cache
def _around(wrapper: type[nn.Module], kind: type[nn.Module]) -> type[nn.Module]:
    """A class that calls the wrapper first, then the layer's former class."""
    return type(f"{wrapper.__name__}{kind.__name__}", (wrapper, kind), {})
