"""Llama 1 to 3 and other models of type `llama` (TinyLlama, SmolLM2): RMSNorm, RoPE, grouped-query attention, SwiGLU."""

from typing import Literal

from pydantic import PositiveInt

from lazarus_models.config.architecture import BlockConfig, DecoderConfig, MLPConfig, NormConfig
from lazarus_models.config.huggingface import TransformerConfig
from lazarus_models.families.family import Family, attention, decoder


class LlamaConfig(TransformerConfig):
    """The keys of a Llama's `config.json`."""

    hidden_act: Literal["silu"] = "silu"
    max_position_embeddings: PositiveInt | None = 2048
    attention_bias: bool = False
    """Whether the attention's projections have biases."""
    mlp_bias: bool = False
    """Whether the MLP's projections have biases."""


def _architecture(config: LlamaConfig) -> DecoderConfig:
    norm = NormConfig(eps=config.rms_norm_eps)
    block = BlockConfig(
        mixer=attention(config, bias=config.attention_bias, output_bias=config.attention_bias),
        feed_forward=(MLPConfig(width=config.intermediate_size, bias=config.mlp_bias),),
        norm=norm,
    )
    return decoder(config, (block,) * config.num_hidden_layers, norm)


FAMILY = Family(LlamaConfig, _architecture, unused_tensors=(".rotary_emb.inv_freq",))
