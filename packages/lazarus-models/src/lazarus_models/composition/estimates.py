"""Estimates from the config alone, without weights: parameters, memory and operations of a model."""

from dataclasses import dataclass
from math import prod
from typing import Any

from lazarus_models.components.decoder import Decoder
from lazarus_models.config.architecture import AttentionConfig, DecoderConfig, Mamba2Config, MambaConfig, MoEConfig
from lazarus_models.trees import weights

_ADAM = 2  # moments a parameter
_HALF = 2.0  # bytes of a number in half precision
_RESIDUAL = 6  # a block keeps the stream before both parts, both normed streams and both sums
_TRANSIENT = 1.9  # temporary memory of both passes relative to what is kept, as fitted in lazarus-train
_LOGITS = 3  # the logits, their softmax and the gradient


@dataclass(frozen=True)
class Estimate:
    """Parameters, bytes and operations of a model."""

    parameters: int
    active_parameters: int
    """Parameters that one token uses: of experts, only the chosen ones."""
    weights_bytes: int
    cache_bytes: int
    """Keys, values and states of `context` tokens."""
    training_bytes: int
    """Weights, gradients and Adam's two moments in float32, without activations."""
    activation_bytes: int
    """Activations of training on one row of `context` tokens, in float32, without gradient checkpointing."""
    lora_parameters: int
    """Parameters of LoRA at the given rank on every linear layer of the blocks except routers."""
    flops_per_token: int
    """Additions and multiplications of a forward pass for one token that sees `context` tokens."""
    context: int
    """Tokens in the cache."""


def estimate(config: DecoderConfig, *, context: int = 2048, bytes_per_weight: float = 2.0, rank: int = 8) -> Estimate:
    """Estimates sizes of a model; its arrays are never computed.

    Args:
        config: The architecture.
        context: Tokens in the cache.
        bytes_per_weight: 4 for float32, 2 for bfloat16, 0.5625 for 4 bits in groups of 64. The cache has at least 2, since
            the keys and values of quantized models are not quantized.
        rank: Rank of LoRA.
    """
    shapes = {name: tensor.shape for name, tensor in weights(Decoder(config)).items()}
    parameters = sum(prod(shape) for shape in shapes.values())
    idle = sum(
        _idle(shapes, config, place, part)
        for place, block in enumerate(config.blocks)
        for part in block.feed_forward
        if isinstance(part, MoEConfig)
    )
    active = parameters - idle
    embedding = config.vocab_size * config.width
    looking = sum(_seen(block.mixer, context) for block in config.blocks)
    return Estimate(
        parameters=parameters,
        active_parameters=active,
        weights_bytes=round(parameters * bytes_per_weight),
        cache_bytes=round(sum(_kept(block.mixer, context) for block in config.blocks) * max(bytes_per_weight, _HALF)),
        training_bytes=4 * parameters * (2 + _ADAM),
        activation_bytes=round(
            4
            * context
            * (_TRANSIENT * (_outputs(shapes, config) + _LOGITS * config.vocab_size) + _scores(config, context))
        ),
        lora_parameters=sum(
            rank * sum(shape) for name, shape in shapes.items() if len(shape) == 2 and _is_adapted(name, config)
        ),
        flops_per_token=2 * (active - (0 if config.tied else embedding)) + looking,
        context=context,
    )


def _idle(shapes: dict[str, tuple[int, ...]], config: DecoderConfig, place: int, part: MoEConfig) -> int:
    start = f"{config.names[0]}.layers.{place}.{part.name}.{part.names[1]}."
    experts = sum(prod(shape) for name, shape in shapes.items() if name.startswith(start))
    return experts * (part.num_experts - part.num_experts_per_tok) // part.num_experts


def _outputs(shapes: dict[str, tuple[int, ...]], config: DecoderConfig) -> int:
    """Numbers that the blocks keep a token for the gradient: outputs of the linear layers, and the residual stream.

    Outputs of gates are kept twice, before and after the activation; of experts, only the chosen ones are kept.
    """
    kept = _RESIDUAL * config.width * len(config.blocks)
    for name, shape in shapes.items():
        if ".layers." not in name or len(shape) < 2:  # biases and norms
            continue
        times = 2 if name.endswith(("gate_proj.weight", "up_proj.weight")) else 1
        kept += times * shape[-2] * (_chosen(config) if len(shape) == 3 else 1)
    return kept


def _scores(config: DecoderConfig, context: int) -> int:
    """Scores of attention a token, which a CPU keeps."""
    mixers = (block.mixer for block in config.blocks)
    return sum(mixer.num_heads * context for mixer in mixers if isinstance(mixer, AttentionConfig))


def _chosen(config: DecoderConfig) -> int:
    """Experts that a token uses, of the block that uses most."""
    parts = (part for block in config.blocks for part in block.feed_forward)
    return max((part.num_experts_per_tok for part in parts if isinstance(part, MoEConfig)), default=1)


def _kept(mixer: Any, context: int) -> int:
    """Elements of a layer's cache."""
    if isinstance(mixer, AttentionConfig):
        tokens = min(context, mixer.window or context)
        return 2 * tokens * mixer.num_key_value_heads * mixer.head_dim
    if isinstance(mixer, MambaConfig):
        return mixer.inner * (mixer.state + mixer.kernel - 1)
    if isinstance(mixer, Mamba2Config):
        inner = mixer.num_heads * mixer.head_dim
        return inner * mixer.state + (inner + 2 * mixer.groups * mixer.state) * (mixer.kernel - 1)
    return 2 * mixer.inner


def _seen(mixer: Any, context: int) -> int:
    """Operations a token of attention's scores and weighted sums, or of a state update."""
    if isinstance(mixer, AttentionConfig):
        tokens = min(context, mixer.window or mixer.chunk or context)
        return 4 * tokens * mixer.num_heads * mixer.head_dim
    if isinstance(mixer, MambaConfig):
        return 6 * mixer.inner * mixer.state
    if isinstance(mixer, Mamba2Config):
        return 6 * mixer.num_heads * mixer.head_dim * mixer.state
    return 0


def _is_adapted(name: str, config: DecoderConfig) -> bool:
    routers = tuple(
        f".{part.name}.{part.names[0]}.weight"
        for block in config.blocks
        for part in block.feed_forward
        if isinstance(part, MoEConfig)
    )
    return ".layers." in name and name.endswith("proj.weight") and not (routers and name.endswith(routers))
