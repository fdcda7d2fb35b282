"""OLMoE: a norm over all heads of queries and keys, and experts; their shares are a softmax over all experts."""

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from lazarus_models.config.architecture import BlockConfig, DecoderConfig, MoEConfig, NormConfig
from lazarus_models.config.huggingface import TransformerConfig
from lazarus_models.families.family import Family, attention, decoder
from lazarus_models.weight_mapping import Layout


class OlmoeConfig(TransformerConfig):
    """The keys of an OLMoE's `config.json`."""

    hidden_act: Literal["silu"] = "silu"
    max_position_embeddings: PositiveInt | None = 4096
    rms_norm_eps: PositiveFloat = 1e-5
    attention_bias: bool = False
    """Whether the attention's projections have biases."""
    clip_qkv: PositiveFloat | None = None
    """Queries, keys and values are clipped to plus or minus this; null for no clipping."""
    num_experts: PositiveInt = 64
    num_experts_per_tok: PositiveInt = 8
    norm_topk_prob: bool = False
    """Whether the shares of the chosen experts are divided by their sum."""


def _architecture(config: OlmoeConfig) -> DecoderConfig:
    norm = NormConfig(eps=config.rms_norm_eps)
    experts = MoEConfig(
        num_experts=config.num_experts,
        num_experts_per_tok=config.num_experts_per_tok,
        width=config.intermediate_size,
        router="all",
        renormalise=config.norm_topk_prob,
    )
    mixer = attention(
        config,
        bias=config.attention_bias,
        output_bias=config.attention_bias,
        qk_norm="all",
        norm=norm,
        clip=config.clip_qkv,
    )
    block = BlockConfig(mixer=mixer, feed_forward=(experts,), norm=norm)
    return decoder(config, (block,) * config.num_hidden_layers, norm)


FAMILY = Family(
    OlmoeConfig,
    _architecture,
    Layout(
        stacked=tuple(
            (f"mlp.experts.{{}}.{part}_proj", f"mlp.switch_mlp.{part}_proj") for part in ("gate", "up", "down")
        )
    ),
)
