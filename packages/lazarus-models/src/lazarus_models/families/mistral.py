"""Mistral: a Llama; the first version has sliding-window attention."""

from typing import Literal

from pydantic import PositiveInt

from lazarus_models.config.architecture import BlockConfig, DecoderConfig, MLPConfig, NormConfig
from lazarus_models.config.huggingface import TransformerConfig
from lazarus_models.families.family import Family, attention, decoder


class MistralConfig(TransformerConfig):
    """The keys of a Mistral's `config.json`."""

    hidden_act: Literal["silu"] = "silu"
    max_position_embeddings: PositiveInt | None = 131072
    num_key_value_heads: PositiveInt = 8
    sliding_window: PositiveInt | None = 4096
    """Tokens that a token sees, itself included; null for all."""


def _architecture(config: MistralConfig) -> DecoderConfig:
    norm = NormConfig(eps=config.rms_norm_eps)
    block = BlockConfig(
        mixer=attention(config, window=config.sliding_window),
        feed_forward=(MLPConfig(width=config.intermediate_size),),
        norm=norm,
    )
    return decoder(config, (block,) * config.num_hidden_layers, norm)


FAMILY = Family(MistralConfig, _architecture)
