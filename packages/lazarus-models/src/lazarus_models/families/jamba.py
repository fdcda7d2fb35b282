"""Jamba: Mamba layers, attention without positions at a fixed period, and experts in every other layer.

The shares of the experts are a softmax over all experts, without renormalisation. mlx-lm computes it over the chosen experts
and counts the layers with experts differently.
"""

import math
from typing import Any, Literal

from pydantic import NonNegativeInt, PositiveInt

from lazarus_models.config.architecture import BlockConfig, DecoderConfig, MambaConfig, MLPConfig, MoEConfig, NormConfig
from lazarus_models.config.huggingface import TransformerConfig
from lazarus_models.families.family import Family, attention, decoder
from lazarus_models.weight_mapping import Layout, swapped


class JambaConfig(TransformerConfig):
    """The keys of a Jamba's `config.json`."""

    hidden_act: Literal["silu"] = "silu"
    max_position_embeddings: PositiveInt | None = 262144
    num_key_value_heads: PositiveInt = 8
    attn_layer_period: PositiveInt = 8
    attn_layer_offset: NonNegativeInt = 4
    """Layers whose number has this remainder by the period are attention; the others are Mamba."""
    expert_layer_period: PositiveInt = 2
    expert_layer_offset: NonNegativeInt = 1
    """Layers whose number has this remainder by the period have experts; the others have an MLP."""
    num_experts: PositiveInt = 16
    num_experts_per_tok: PositiveInt = 2
    mamba_d_state: PositiveInt = 16
    mamba_d_conv: PositiveInt = 4
    mamba_expand: PositiveInt = 2
    mamba_dt_rank: Literal["auto"] | PositiveInt = "auto"
    mamba_conv_bias: bool = True
    mamba_proj_bias: bool = False

    @classmethod
    def _complete(cls, said: dict[str, Any]) -> None:
        said.setdefault("num_key_value_heads", 8)
        super()._complete(said)

    def _rope_keys(self) -> dict[str, Any]:
        return {}  # its attention has no positions


def _architecture(config: JambaConfig) -> DecoderConfig:
    norm = NormConfig(eps=config.rms_norm_eps)
    rank = math.ceil(config.hidden_size / 16) if config.mamba_dt_rank == "auto" else config.mamba_dt_rank
    mamba = MambaConfig(
        inner=config.mamba_expand * config.hidden_size,
        state=config.mamba_d_state,
        kernel=config.mamba_d_conv,
        rank=rank,
        bias=config.mamba_proj_bias,
        conv_bias=config.mamba_conv_bias,
        norm=norm,
    )
    mlp = MLPConfig(width=config.intermediate_size, name="feed_forward")
    experts = MoEConfig(
        num_experts=config.num_experts,
        num_experts_per_tok=min(config.num_experts_per_tok, config.num_experts),
        width=config.intermediate_size,
        router="all",
        names=("router", "switch_mlp"),
        name="feed_forward",
    )

    def block(layer: int) -> BlockConfig:
        attends = layer % config.attn_layer_period == config.attn_layer_offset
        has_experts = config.num_experts > 1 and layer % config.expert_layer_period == config.expert_layer_offset
        return BlockConfig(
            mixer=attention(config, rope=None) if attends else mamba,
            feed_forward=(experts if has_experts else mlp,),
            norm=norm,
            norm_names=("input_layernorm", "pre_ff_layernorm"),
        )

    blocks = tuple(block(layer) for layer in range(config.num_hidden_layers))
    return decoder(config, blocks, norm, names=("model", "embed_tokens", "final_layernorm"))


FAMILY = Family(
    JambaConfig,
    _architecture,
    Layout(
        stacked=tuple(
            (f"feed_forward.experts.{{}}.{part}_proj", f"feed_forward.switch_mlp.{part}_proj")
            for part in ("gate", "up", "down")
        ),
        rules=(swapped("conv1d.weight"),),
    ),
)
