"""Granite 3, dense: a Llama with four multipliers."""

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from lazarus_models.config.architecture import BlockConfig, DecoderConfig, MLPConfig, NormConfig
from lazarus_models.config.huggingface import TransformerConfig
from lazarus_models.families.family import Family, attention, decoder


class GraniteConfig(TransformerConfig):
    """The keys of a Granite's `config.json`."""

    hidden_act: Literal["silu"] = "silu"
    max_position_embeddings: PositiveInt | None = 2048
    attention_bias: bool = False
    """Whether the attention's projections have biases."""
    mlp_bias: bool = False
    """Whether the MLP's projections have biases."""
    attention_multiplier: PositiveFloat = 1.0
    """Factor of the scores, instead of 1 / sqrt(head_dim)."""
    embedding_multiplier: PositiveFloat = 1.0
    """Factor of the embeddings."""
    residual_multiplier: PositiveFloat = 1.0
    """Factor of the outputs that are added to the residual stream."""
    logits_scaling: PositiveFloat = 1.0
    """Divisor of the logits."""


def _architecture(config: GraniteConfig) -> DecoderConfig:
    norm = NormConfig(eps=config.rms_norm_eps)
    block = BlockConfig(
        mixer=attention(
            config,
            bias=config.attention_bias,
            output_bias=config.attention_bias,
            scale=config.attention_multiplier,
        ),
        feed_forward=(MLPConfig(width=config.intermediate_size, bias=config.mlp_bias),),
        norm=norm,
        residual_scale=config.residual_multiplier,
    )
    return decoder(
        config,
        (block,) * config.num_hidden_layers,
        norm,
        embedding_scale=config.embedding_multiplier,
        logits_divisor=config.logits_scaling,
    )


FAMILY = Family(GraniteConfig, _architecture)
