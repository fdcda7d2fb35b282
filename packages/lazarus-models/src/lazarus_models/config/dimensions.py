"""Limits of a model's size, checked from its description before the model is built.

A config of a few hundred bytes can demand gigabytes. Its numbers are compared with the headers of the weights, or, without
weights, with fixed bounds and the machine's memory.
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
"""Largest number of experts of a block: Switch-C has 2,048."""
MAX_DIMENSION = 2**31 - 1
"""Largest size of an axis: MLX uses signed 32-bit integers."""
MAX_NUMBERS = 10**13
"""Largest number of weights of a model without files: ten times the largest published model."""
_PACKED = 16
"""Largest number of weights in one stored number: 2-bit weights in a U32."""
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def least_numbers(config: DecoderConfig) -> int:
    """A lower bound of the number of weights of a model: those of its large matrices."""
    head = 0 if config.tied else config.vocab_size * config.width
    embedding = (config.vocab_size + (config.positions or 0)) * config.width
    return embedding + head + sum(_block_numbers(config.width, block) for block in config.blocks)


def refuse_oversized(config: DecoderConfig, source: str) -> None:
    """Refuses an architecture that is too large to build.

    Args:
        config: The architecture.
        source: Start of the message.

    Raises:
        ConfigError: It has too many layers, experts or weights, or an axis that is too long for MLX.
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
    """Refuses a new model whose weights exceed the machine's memory.

    Args:
        config: The architecture.
        source: Start of the message.
        bytes_per_weight: 4 for float32.

    Raises:
        ConfigError: The weights exceed the memory.
    """
    needed = least_numbers(config) * bytes_per_weight
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise ConfigError(
            f"{source}: the weights alone take {needed / 2**30:,.1f} GiB, this machine has {memory / 2**30:,.1f} GiB",
            "LM-E109",
        )


def check_layers(layers: int, stored: Mapping[str, Stored], source: str) -> None:
    """Refuses a config with more layers than the weights. Fewer layers are found when the tensors are compared.

    Args:
        layers: `num_hidden_layers`.
        stored: The stored tensors by name.
        source: Start of the message.

    Raises:
        WeightsError: The weights have fewer layers.
    """
    found = 1 + max((int(match[1]) for name in stored if (match := _LAYER.search(name))), default=-1)
    if layers > found:
        raise WeightsError(
            f"{source}: config.json describes {layers:,} layers (`num_hidden_layers`), but the weights have {found:,}",
            "LM-E123",
        )


def check_numbers(config: DecoderConfig, stored: Mapping[str, Stored], source: str) -> None:
    """Refuses a config that needs more weights than are stored.

    Args:
        config: The architecture.
        stored: The stored tensors by name.
        source: Start of the message.

    Raises:
        WeightsError: Fewer weights are stored, even if they are packed at 2 bits.
    """
    least, there = least_numbers(config), sum(prod(tensor.shape) for tensor in stored.values())
    if least > there * _PACKED:
        raise WeightsError(
            f"{source}: config.json describes at least {least:,} weights, but the files have {there:,} numbers",
            "LM-E125",
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
