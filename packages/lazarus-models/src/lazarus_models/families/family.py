"""The interface of a model family: every family file defines one `FAMILY`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lazarus_models.components.decoder import Decoder
from lazarus_models.config.architecture import AttentionConfig, BlockConfig, DecoderConfig, NormConfig
from lazarus_models.config.dimensions import refuse_oversized
from lazarus_models.config.huggingface import ModelConfig, TransformerConfig
from lazarus_models.weight_mapping import PLAIN, Layout


@dataclass(frozen=True)
class Family:
    """Config, architecture and file layout of one `model_type`."""

    config: type[ModelConfig]
    """The keys of its `config.json`, with transformers' defaults."""
    architecture: Callable[[Any], DecoderConfig]
    """Converts a config to an architecture."""
    layout: Layout | Callable[[Any], Layout] = PLAIN
    """The differences between its files and its models, or a function of the config that returns them."""
    unused_tensors: tuple[str, ...] = ()
    """Ends of names of stored tensors that the model does not use."""

    def build(self, config: ModelConfig) -> Decoder:
        """A model from ids (B, T) to logits (B, T, V), with arbitrary weights."""
        architecture = self.architecture(config)
        refuse_oversized(architecture, f"`{config.model_type}`")
        return Decoder(architecture)

    def layout_of(self, config: ModelConfig) -> Layout:
        """The differences between files with this config and the model."""
        return self.layout if isinstance(self.layout, Layout) else self.layout(config)


def attention(config: TransformerConfig, **settings: Any) -> AttentionConfig:
    """Attention with the heads and the RoPE of a config.

    Args:
        config: The config.
        **settings: Other fields of `AttentionConfig`.
    """
    heads: dict[str, Any] = {
        "num_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "rope": config.rope,
    }
    return AttentionConfig(**{**heads, **settings})


def decoder(config: ModelConfig, blocks: tuple[BlockConfig, ...], norm: NormConfig, **settings: Any) -> DecoderConfig:
    """An architecture with the vocabulary and width of a config.

    Args:
        config: The config.
        blocks: The blocks, in order.
        norm: Norm after the last block.
        **settings: Other fields of `DecoderConfig`.
    """
    return DecoderConfig(
        vocab_size=config.vocab_size,
        width=config.hidden_size,
        blocks=blocks,
        norm=norm,
        tied=config.tie_word_embeddings,
        **settings,
    )
