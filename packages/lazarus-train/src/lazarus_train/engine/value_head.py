"""The value head of PPO: a linear map from the model's last states to the expected reward.

It belongs to the model while it is trained. Checkpoints keep it in a file of its own, and the trained model has none.
"""

import contextlib
from collections.abc import Generator, Mapping
from typing import Any, cast

from lazarus_models.backend import mx, nn
from lazarus_models.trees import set_weights
from lazarus_train.layers.neftune import embedding_width

NAME = "value_head"


def attach(model: nn.Module, tensors: Mapping[str, mx.array] | None = None) -> None:
    """Gives a model a value head. A new one predicts 0.

    Args:
        model: A language model.
        tensors: `weight` and `bias` of a stored head; None for a new one.
    """
    head = nn.Linear(embedding_width(model), 1)
    set_weights(head, tensors or {"weight": mx.zeros_like(head.weight), "bias": mx.zeros((1,))})
    cast("Any", model).value_head = head


def tensors_of(model: nn.Module) -> dict[str, mx.array]:
    """Weight and bias of a model's value head."""
    head = cast("Any", model).value_head
    return {"weight": head.weight, "bias": head.bias}


@contextlib.contextmanager
def without(model: nn.Module) -> Generator[None]:
    """Context manager: the model has no value head."""
    head = cast("dict[str, Any]", model).pop(NAME, None)
    try:
        yield
    finally:
        if head is not None:
            cast("Any", model).value_head = head
