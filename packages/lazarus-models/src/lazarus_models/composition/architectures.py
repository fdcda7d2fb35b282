"""Models of your own from the parts: described by a `DecoderConfig`, made, trained, saved and loaded like any other.

A model that is a Llama or a Mistral in all but name is saved as one, and every program that reads those reads it; any
other is saved with its description in `config.json`, as family `lazarus_decoder`.
"""

from collections.abc import Sequence
from typing import Any, Literal

from lazarus_models.composition.presets import new
from lazarus_models.config.architecture import (
    AttentionConfig,
    BlockConfig,
    DecoderConfig,
    FeedForward,
    MambaConfig,
    Mixer,
    MLPConfig,
    NormConfig,
    RecurrentConfig,
)
from lazarus_models.config.huggingface import ModelConfig
from lazarus_models.families import canonical, family_of
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_tokenkit import Tokenizer

CONTEXT = 2048
"""Longest context of a composed model, in tokens, unless told otherwise."""


def compose(architecture: DecoderConfig, tokenizer: Tokenizer, *, seed: int, context: int = CONTEXT) -> LoadedModel:
    """A fresh model of an architecture.

    Args:
        architecture: Its vocabulary is at least the tokenizer's.
        tokenizer: Decides the special ids.
        seed: Of the weights.
        context: Longest context, in tokens.
    """
    return new(model_config(architecture, context=context), tokenizer, seed=seed, vocab_size=architecture.vocab_size)


def model_config(architecture: DecoderConfig, *, context: int = CONTEXT) -> ModelConfig:
    """The `config.json` of an architecture: a Llama's or a Mistral's where it is one, else its own description."""
    for raw in _guesses(architecture, context):
        config = canonical(raw, f"composed {raw['model_type']}")
        if family_of(config.model_type).architecture(config) == architecture:
            return config
    return canonical(
        {
            "model_type": "lazarus_decoder",
            "architectures": ["LazarusDecoder"],
            "hidden_size": architecture.width,
            "num_hidden_layers": len(architecture.blocks),
            "vocab_size": architecture.vocab_size,
            "max_position_embeddings": min(context, architecture.positions or context),
            "tie_word_embeddings": architecture.tied,
            "architecture": architecture.model_dump(mode="json"),
        },
        "composed model",
    )


def transformer(
    *,
    vocab_size: int,
    width: int,
    layers: int,
    heads: int,
    key_value_heads: int | None = None,
    mlp: int | None = None,
    window: int | None = None,
    tied: bool = True,
    feed_forward: FeedForward | None = None,
    **attention: Any,
) -> DecoderConfig:
    """A transformer as Llama has it; other settings are those of `AttentionConfig`.

    Args:
        vocab_size: Rows of the embedding.
        width: Of the residual stream.
        layers: Blocks.
        heads: Query heads.
        key_value_heads: Key and value heads; as many unless given.
        mlp: Width inside the MLP; 8/3 of the model's, to a multiple of 16, unless given.
        window: Tokens that a token sees.
        tied: Whether the head is the embedding transposed.
        feed_forward: In the place of a SwiGLU.
        **attention: Such as `alibi=True, rope=None`.
    """
    mixer = AttentionConfig(
        num_heads=heads,
        num_key_value_heads=key_value_heads or heads,
        head_dim=width // heads,
        window=window,
        **attention,
    )
    part = feed_forward or MLPConfig(width=mlp or round(width * 8 / 3 / 16) * 16)
    return stack(vocab_size, width, [BlockConfig(mixer=mixer, feed_forward=(part,))] * layers, tied=tied)


def mamba(*, vocab_size: int, width: int, layers: int, state: int = 16, tied: bool = True) -> DecoderConfig:
    """A pure state-space model."""
    block = BlockConfig(mixer=mamba_mixer(width, state), norm_names=("norm",))
    return stack(vocab_size, width, [block] * layers, tied=tied)


def recurrent(
    *, vocab_size: int, width: int, layers: int, kind: Literal["lstm", "gru", "min_gru"] = "min_gru", tied: bool = True
) -> DecoderConfig:
    """A recurrent model with an MLP in each block."""
    mixer = RecurrentConfig(kind=kind, inner=width)
    block = BlockConfig(mixer=mixer, feed_forward=(MLPConfig(width=2 * width),))
    return stack(vocab_size, width, [block] * layers, tied=tied)


def hybrid(*, vocab_size: int, width: int, mixers: Sequence[Mixer], mlp: int, tied: bool = True) -> DecoderConfig:
    """A model whose blocks mix in different ways, in the given order."""
    blocks = [BlockConfig(mixer=mixer, feed_forward=(MLPConfig(width=mlp),)) for mixer in mixers]
    return stack(vocab_size, width, blocks, tied=tied)


def mamba_mixer(width: int, state: int = 16) -> MambaConfig:
    """Mamba's usual proportions: twice the width inside, time steps from a sixteenth of it."""
    return MambaConfig(inner=2 * width, state=state, rank=-(-width // 16))


def stack(vocab_size: int, width: int, blocks: Sequence[BlockConfig], *, tied: bool) -> DecoderConfig:
    """Blocks between an embedding and a head."""
    return DecoderConfig(vocab_size=vocab_size, width=width, blocks=tuple(blocks), norm=NormConfig(), tied=tied)


def _guesses(architecture: DecoderConfig, context: int) -> list[dict[str, Any]]:
    block = architecture.blocks[0]
    mixer, parts = block.mixer, block.feed_forward
    if not isinstance(mixer, AttentionConfig) or mixer.rope is None or len(parts) != 1:
        return []
    raw: dict[str, Any] = {
        "hidden_size": architecture.width,
        "intermediate_size": parts[0].width,
        "num_hidden_layers": len(architecture.blocks),
        "num_attention_heads": mixer.num_heads,
        "num_key_value_heads": mixer.num_key_value_heads,
        "head_dim": mixer.head_dim,
        "vocab_size": architecture.vocab_size,
        "max_position_embeddings": context,
        "rms_norm_eps": architecture.norm.eps,
        "rope_parameters": mixer.rope.model_dump(exclude_none=True),
        "tie_word_embeddings": architecture.tied,
    }
    biases = {"attention_bias": mixer.bias, "mlp_bias": isinstance(parts[0], MLPConfig) and parts[0].bias}
    return [
        {**raw, **biases, "model_type": "llama", "architectures": ["LlamaForCausalLM"]},
        {**raw, "sliding_window": mixer.window, "model_type": "mistral", "architectures": ["MistralForCausalLM"]},
    ]
