"""Granite 3 with experts."""

from typing import Literal

from pydantic import PositiveInt

from lazarus_models.config.architecture import BlockConfig, DecoderConfig, MoEConfig, NormConfig
from lazarus_models.config.huggingface import TransformerConfig
from lazarus_models.families.family import Family, attention, decoder
from lazarus_models.weight_mapping import Layout, halves, renamed


class GraniteMoeConfig(TransformerConfig):
    """The keys of a Granite MoE's `config.json`; the multipliers are explained in `granite`."""

    hidden_act: Literal["silu"] = "silu"
    max_position_embeddings: PositiveInt | None = 2048
    attention_bias: bool = False
    """Whether the attention's projections have biases."""
    attention_multiplier: float = 1.0
    embedding_multiplier: float = 1.0
    residual_multiplier: float = 1.0
    logits_scaling: float = 1.0
    num_local_experts: PositiveInt = 8
    num_experts_per_tok: PositiveInt = 2


def _architecture(config: GraniteMoeConfig) -> DecoderConfig:
    norm = NormConfig(eps=config.rms_norm_eps)
    experts = MoEConfig(
        num_experts=config.num_local_experts,
        num_experts_per_tok=config.num_experts_per_tok,
        width=config.intermediate_size,
        names=("router.layer", "switch_mlp"),
        name="block_sparse_moe",
    )
    block = BlockConfig(
        mixer=attention(
            config,
            bias=config.attention_bias,
            output_bias=config.attention_bias,
            scale=config.attention_multiplier,
        ),
        feed_forward=(experts,),
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


EXPERTS = Layout(
    rules=(
        halves(
            "block_sparse_moe.input_linear.weight",
            "block_sparse_moe.switch_mlp.gate_proj.weight",
            "block_sparse_moe.switch_mlp.up_proj.weight",
        ),
        renamed("block_sparse_moe.output_linear.weight", "block_sparse_moe.switch_mlp.down_proj.weight"),
    )
)
FAMILY = Family(GraniteMoeConfig, _architecture, EXPERTS)
