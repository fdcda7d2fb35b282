"""What a family of models tells the rest of the package; one file a family holds one `FAMILY`."""

import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from lazarus_models.attention import route_packed_rows
from lazarus_models.backend import nn
from lazarus_models.config import ModelConfig


@dataclass(frozen=True)
class Family:
    """How to build, read and name the parts of one `model_type`."""

    model_type: str
    defaults: Mapping[str, Any]
    """What a `config.json` of this family means where it says nothing: transformers' defaults, not mlx-lm's."""
    build: Callable[[ModelConfig], nn.Module]
    """A module that takes ids (B, T) to logits (B, T, V); its weights are yet to be loaded."""
    residual_projections: tuple[str, ...]
    """The layers that write to the residual stream; fresh ones start smaller by sqrt(2 * layers)."""
    linear_layers: tuple[str, ...]
    """The linear layers of a block: what LoRA adapts unless told otherwise."""
    unused_tensors: tuple[str, ...]
    """Name endings that some checkpoints carry and the model computes itself."""
    supports_packing: bool
    """Whether a row of several segments can be told apart by an attention mask alone."""


def _leave_limit(resource: int, limits: tuple[int, int]) -> None:
    """Stands in for `resource.setrlimit`."""


def import_mlx_lm(module: str) -> Any:
    """Imports a module of mlx-lm, which takes over a second: it brings transformers.

    mlx-lm sets the process's limit on open files to 2048 of 4096 as it is imported, which fails where the limit is
    lower and cannot be undone where it was higher; here the limit stays as it is. A model's module learns to compute
    packed rows.
    """
    set_limit = resource.setrlimit
    resource.setrlimit = _leave_limit
    try:
        imported = import_module(f"mlx_lm.{module}")
    finally:
        resource.setrlimit = set_limit
    route_packed_rows(imported)
    return imported
