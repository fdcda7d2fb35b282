"""How large a model may be: checked from its description, before anything of it is built.

A config is a text of a few hundred bytes; its numbers decide over gigabytes. They are held against the headers of the
weights where there are weights, and against plain bounds and the machine's memory where there are none.
"""

import os
import re
from collections.abc import Mapping
from math import prod

from lazarus_models.config.architecture import (
    MAX_LAYERS,
    AttentionConfig,
    BlockConfig,
    DecoderConfig,
    Mamba2Config,
    MLPConfig,
    MoEConfig,
)
from lazarus_models.errors import ConfigError, WeightsError
from lazarus_models.tensor_files import Stored

MAX_EXPERTS = 4096
"""Experts of a block: Switch-C has 2,048."""
MAX_DIMENSION = 2**31 - 1
"""Of any axis: MLX counts in signed integers of 32 bits."""
MAX_NUMBERS = 10**13
"""Weights of a model without files: ten times the largest published."""
_PACKED = 16
"""Weights in one stored number at most: 2 bits in a U32."""
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def least_numbers(config: DecoderConfig) -> int:
    """Weights that such a model has at least: its large matrices."""
    head = 0 if config.tied else config.vocab_size * config.width
    embedding = (config.vocab_size + (config.positions or 0)) * config.width
    return embedding + head + sum(_block_numbers(config.width, block) for block in config.blocks)


def refuse_oversized(config: DecoderConfig, source: str) -> None:
    """Checks a model that is to be built.

    Args:
        config: Describes it.
        source: What the message begins with.

    Raises:
        ConfigError: It has too many layers, experts or weights, or an axis too long for MLX.
    """
    axes = {"vocab_size": config.vocab_size, "width": config.width, "positions": config.positions or 0}
    bounded = [("layers", len(config.blocks), MAX_LAYERS)]
    for block in config.blocks:
        axes |= _axes(block)
        bounded += [
            ("experts", part.num_experts, MAX_EXPERTS) for part in block.feed_forward if isinstance(part, MoEConfig)
        ]
    bounded += [(name, size, MAX_DIMENSION) for name, size in axes.items()]
    bounded.append(("weights", least_numbers(config), MAX_NUMBERS))
    for name, size, bound in bounded:
        if size > bound:
            raise ConfigError(f"{source}: {name}: {size:,}; at most {bound:,} are built", "LM-E109")


def check_memory(config: DecoderConfig, source: str, *, bytes_per_weight: int = 4) -> None:
    """Whether the weights of a new model fit into the machine's memory.

    Raises:
        ConfigError: They do not.
    """
    needed = least_numbers(config) * bytes_per_weight
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise ConfigError(
            f"{source}: the weights alone take {needed / 2**30:,.1f} GiB, this machine has {memory / 2**30:,.1f} GiB",
            "LM-E109",
        )


def check_layers(layers: int, stored: Mapping[str, Stored], source: str) -> None:
    """Holds the number of layers against the names in the weights; a model of fewer is compared by its tensors.

    Args:
        layers: `num_hidden_layers`.
        stored: The tensors of the weights.
        source: What the message begins with.

    Raises:
        WeightsError: The weights hold fewer.
    """
    found = 1 + max((int(match[1]) for name in stored if (match := _LAYER.search(name))), default=-1)
    if layers > found:
        raise WeightsError(
            f"{source}: config.json describes {layers:,} layers (`num_hidden_layers`), the weights hold {found:,}",
            "LM-E123",
        )


def check_numbers(config: DecoderConfig, stored: Mapping[str, Stored], source: str) -> None:
    """Holds the size of a model against the sizes in the headers of its weights.

    Raises:
        WeightsError: The weights hold fewer numbers, however they are packed.
    """
    least, there = least_numbers(config), sum(prod(tensor.shape) for tensor in stored.values())
    if least > there * _PACKED:
        raise WeightsError(
            f"{source}: config.json describes {least:,} weights or more, the files hold {there:,} numbers", "LM-E125"
        )


def _axes(block: BlockConfig) -> dict[str, int]:
    mixer = block.mixer
    if isinstance(mixer, AttentionConfig):
        axes = {"num_heads times head_dim": mixer.num_heads * mixer.head_dim}
    elif isinstance(mixer, Mamba2Config):
        inner = mixer.num_heads * mixer.head_dim
        axes = {"inner": 2 * inner + 2 * mixer.groups * mixer.state + mixer.num_heads, "kernel": mixer.kernel}
    else:
        axes = {"inner": 4 * mixer.inner}
        if mixer.kind == "mamba":
            axes |= {"state": 2 * mixer.state + mixer.rank, "kernel": mixer.kernel}
    return axes | {"width of the MLP": 2 * max((part.width for part in block.feed_forward), default=0)}


def _block_numbers(width: int, block: BlockConfig) -> int:
    return _mixer_numbers(width, block) + sum(_feed_numbers(width, part) for part in block.feed_forward)


def _mixer_numbers(width: int, block: BlockConfig) -> int:
    mixer = block.mixer
    if isinstance(mixer, AttentionConfig):
        return 2 * width * (mixer.num_heads + mixer.num_key_value_heads) * mixer.head_dim
    if isinstance(mixer, Mamba2Config):
        inner = mixer.num_heads * mixer.head_dim
        return 3 * width * inner + inner * mixer.kernel + 2 * width * mixer.groups * mixer.state
    if mixer.kind == "mamba":
        return mixer.inner * (3 * width + mixer.kernel + 3 * mixer.state + 2 * mixer.rank)
    return width * mixer.inner


def _feed_numbers(width: int, part: MLPConfig | MoEConfig) -> int:
    if isinstance(part, MLPConfig):
        return (3 if part.gated else 2) * width * part.width
    shared = _feed_numbers(width, part.shared) if part.shared else 0
    return part.num_experts * width * (3 * part.width + 1) + shared
