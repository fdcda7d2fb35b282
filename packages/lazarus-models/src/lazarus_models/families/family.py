"""What a family of models tells the rest of the package; one file a family holds one `FAMILY`."""

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
    """How to read, build and name the parts of one `model_type`."""

    config: type[ModelConfig]
    """The keys of its `config.json`, with transformers' defaults, not mlx-lm's."""
    architecture: Callable[[Any], DecoderConfig]
    """What such a config describes."""
    layout: Layout | Callable[[Any], Layout] = PLAIN
    """How its files differ from its models; a function of the config where that decides."""
    unused_tensors: tuple[str, ...] = ()
    """Name endings that some checkpoints carry and the model computes itself."""

    def build(self, config: ModelConfig) -> Decoder:
        """A module that takes ids (B, T) to logits (B, T, V); its weights are yet to be loaded."""
        architecture = self.architecture(config)
        refuse_oversized(architecture, f"`{config.model_type}`")
        return Decoder(architecture)

    def layout_of(self, config: ModelConfig) -> Layout:
        """How files of such a config differ from its model."""
        return self.layout if isinstance(self.layout, Layout) else self.layout(config)


def attention(config: TransformerConfig, **settings: Any) -> AttentionConfig:
    """The attention of a config's heads and RoPE, with a family's other settings of `AttentionConfig`."""
    heads: dict[str, Any] = {
        "num_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "rope": config.rope,
    }
    return AttentionConfig(**{**heads, **settings})


def decoder(config: ModelConfig, blocks: tuple[BlockConfig, ...], norm: NormConfig, **settings: Any) -> DecoderConfig:
    """The model of a config's vocabulary and width, with a family's other settings of `DecoderConfig`."""
    return DecoderConfig(
        vocab_size=config.vocab_size,
        width=config.hidden_size,
        blocks=blocks,
        norm=norm,
        tied=config.tie_word_embeddings,
        **settings,
    )
