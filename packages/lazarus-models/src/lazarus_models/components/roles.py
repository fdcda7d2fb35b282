"""The role of every parameter, by which an optimizer decides about weight decay and orthogonalisation.

A role comes from the model's description (`DecoderConfig`), not from the number of axes: Mamba's `A_log` has two axes but
is a table of decay rates. For models without a description, such as a single layer, roles are guessed from names.
"""

from collections.abc import Iterator
from typing import Any, Literal

from lazarus_models.backend import nn
from lazarus_models.config.architecture import (
    AttentionConfig,
    DecoderConfig,
    FeedForward,
    Mamba2Config,
    MambaConfig,
    Mixer,
    MoEConfig,
    RecurrentConfig,
)
from lazarus_models.trees import weights

ParameterRole = Literal[
    "embedding", "head", "linear", "experts", "adapter", "router", "convolution", "state", "norm", "bias", "vector"
]
"""`linear`: one linear map of a block. `experts`: a stack of linear maps. `adapter`: a factor of a low-rank update of one
of these. `state`: `A_log`, `D` and time-step biases of a state space. `vector`: attention sinks, DoRA's row lengths."""

_STATE = ("A_log", "D", "dt_bias")
_BIASES = ("bias", "b", "bhn")
"""Last names of biases; `b` and `bhn` are those of MLX's recurrent cells."""
_ADAPTERS = ("lora_a", "lora_b")
_MAPS = ("linear", "experts")


def parameter_roles(model: nn.Module) -> dict[str, ParameterRole]:
    """The role of each parameter by its name.

    Args:
        model: A `Decoder` or `SequenceModel`, with or without adapters. Roles in other modules are guessed from names.
    """
    config: Any = getattr(model, "config", None)
    found = weights(model)
    if not isinstance(config, DecoderConfig):
        return {name: guessed_role(name, tensor.ndim) for name, tensor in found.items()}
    parts = dict(_parts(config))
    return {name: _leaf_role(name, _part_role(name, parts)) for name in found}


def guessed_role(name: str, axes: int) -> ParameterRole:
    """The role of a parameter of a model without a description, guessed from the names that the families use.

    >>> guessed_role("model.layers.0.mixer.A_log", 2), guessed_role("model.layers.0.self_attn.q_proj.weight", 2)
    ('state', 'linear')

    Args:
        name: Dotted name of the parameter.
        axes: Number of axes, at least 0.
    """
    *path, last = name.split(".")
    if last in _STATE:
        return "state"
    if "embed" in name:
        return "embedding"
    if "norm" in name:
        return "norm"
    if any(part in ("router", "gate") for part in path):
        return _leaf_role(name, "router")
    if any(part.startswith("conv") for part in path):
        return _leaf_role(name, "convolution")
    if axes < 2:
        return "bias" if last in _BIASES else "vector"
    if "layers" not in path:
        return "head"
    return _leaf_role(name, "experts" if axes > 2 else "linear")


def _parts(config: DecoderConfig) -> Iterator[tuple[str, ParameterRole]]:
    """The dotted name of each layer, and the role of its weight."""
    body, embedding, norm = config.names
    yield f"{body}.{embedding}", "embedding"
    yield f"{body}.embed_positions", "embedding"
    yield f"{body}.{norm}", "norm"
    yield "lm_head", "head"
    yield "score", "head"
    yield "value_head", "head"
    for place, block in enumerate(config.blocks):
        inside = [*((name, "norm") for name in block.norm_names), *_mixer_parts(block.mixer)]
        for feed in block.feed_forward:
            inside += _feed_parts(feed)
        for name, role in inside:
            yield f"{body}.layers.{place}.{name}", role  # pyright: ignore[reportReturnType] (pairs of a name and a role)


def _mixer_parts(mixer: Mixer) -> Iterator[tuple[str, ParameterRole]]:
    """The layers of a mixer, by their names in the block."""
    match mixer:
        case AttentionConfig():
            maps, others = (
                ("q_proj", "k_proj", "v_proj", "o_proj"),
                {"q_norm": "norm", "k_norm": "norm", "sinks": "vector"},
            )
        case MambaConfig():
            maps = ("in_proj", "x_proj", "dt_proj", "out_proj")
            others = dict.fromkeys(("dt_layernorm", "b_layernorm", "c_layernorm"), "norm")
        case Mamba2Config():
            maps, others = ("in_proj", "out_proj"), {"norm": "norm"}
        case RecurrentConfig():
            maps, others = ("gate_proj", "hidden_proj", "cell", "out_proj"), {}
    others = {"conv1d": "convolution"} | dict.fromkeys(_STATE, "state") | others | dict.fromkeys(maps, "linear")
    for name, role in others.items():
        yield f"{mixer.name}.{name}", role  # pyright: ignore[reportReturnType] (the dictionaries hold roles alone)


def _feed_parts(feed: FeedForward) -> Iterator[tuple[str, ParameterRole]]:
    """The layers of a feed-forward part, by their names in the block; the longest name decides."""
    if not isinstance(feed, MoEConfig):
        yield feed.name, "linear"
        return
    router, experts = feed.names
    yield f"{feed.name}.{router}", "router"
    yield f"{feed.name}.{experts}", "experts"
    if feed.shared is not None:
        yield f"{feed.name}.{feed.shared.name}", "linear"


def _part_role(name: str, parts: dict[str, ParameterRole]) -> ParameterRole:
    """The role of the layer with the longest name that is a prefix of `name`."""
    path = name.split(".")
    for length in range(len(path), 0, -1):
        role = parts.get(".".join(path[:length]))
        if role is not None:
            return role
    raise AssertionError(f"the model's description has no role for the parameter `{name}`")


def _leaf_role(name: str, role: ParameterRole) -> ParameterRole:
    """The role of one array of a layer; biases, adapter factors and DoRA's lengths have their own roles."""
    last = name.rpartition(".")[2]
    if last in _BIASES and role not in ("norm", "state"):
        return "bias"
    if last in _ADAPTERS and role in _MAPS:
        return "adapter"
    return "vector" if last == "m" else role
