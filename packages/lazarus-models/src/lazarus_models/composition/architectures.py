"""Custom models: a `DecoderConfig` becomes a model that is trained, saved and loaded like any other.

An architecture that equals a Llama or a Mistral is saved as one, so that other programs read it. Any other architecture is
saved with its description in `config.json`, as family `lazarus_decoder`.
"""

from collections.abc import Sequence
from typing import Any, Literal

from lazarus_models.composition.presets import init_model
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
"""Default of the longest context of a composed model, in tokens."""


def compose(architecture: DecoderConfig, tokenizer: Tokenizer, *, seed: int, context: int = CONTEXT) -> LoadedModel:
    """Initializes a model with a given architecture.

    Args:
        architecture: The architecture; its vocabulary is at least the tokenizer's.
        tokenizer: Determines the special ids.
        seed: Random seed of the weights, in [0, 2**64).
        context: Longest context, in tokens.
    """
    return init_model(
        model_config(architecture, context=context), tokenizer, seed=seed, vocab_size=architecture.vocab_size
    )


def model_config(architecture: DecoderConfig, *, context: int = CONTEXT) -> ModelConfig:
    """The config of an architecture: that of an equal Llama or Mistral, or else of family `lazarus_decoder`.

    Args:
        architecture: The architecture.
        context: Longest context, in tokens.
    """
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
    """A transformer like Llama: RMSNorm, RoPE and SwiGLU.

    Args:
        vocab_size: Rows of the embedding.
        width: Width of the residual stream, a multiple of `heads`.
        layers: Number of blocks.
        heads: Query heads.
        key_value_heads: Key and value heads, a divisor of `heads`; None for as many as `heads`.
        mlp: Width inside the MLP; None for 8/3 of `width`, rounded to a multiple of 16.
        window: Tokens that a token sees, itself included; None for all.
        tied: Whether the head is the transposed embedding.
        feed_forward: Replaces the SwiGLU MLP; None for SwiGLU.
        **attention: Other fields of `AttentionConfig`, such as `alibi=True, rope=None`.
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
    """A pure state-space model.

    Args:
        vocab_size: Rows of the embedding.
        width: Width of the residual stream.
        layers: Number of blocks.
        state: State elements a channel.
        tied: Whether the head is the transposed embedding.
    """
    block = BlockConfig(mixer=mamba_mixer(width, state), norm_names=("norm",))
    return stack(vocab_size, width, [block] * layers, tied=tied)


def recurrent(
    *, vocab_size: int, width: int, layers: int, kind: Literal["lstm", "gru", "min_gru"] = "min_gru", tied: bool = True
) -> DecoderConfig:
    """A recurrent model with an MLP in each block.

    Args:
        vocab_size: Rows of the embedding.
        width: Width of the residual stream and of the state.
        layers: Number of blocks.
        kind: Kind of the recurrent layers.
        tied: Whether the head is the transposed embedding.
    """
    mixer = RecurrentConfig(kind=kind, inner=width)
    block = BlockConfig(mixer=mixer, feed_forward=(MLPConfig(width=2 * width),))
    return stack(vocab_size, width, [block] * layers, tied=tied)


def hybrid(*, vocab_size: int, width: int, mixers: Sequence[Mixer], mlp: int, tied: bool = True) -> DecoderConfig:
    """A model whose blocks have different mixers.

    Args:
        vocab_size: Rows of the embedding.
        width: Width of the residual stream.
        mixers: One mixer a block, in order.
        mlp: Width inside the MLP of each block.
        tied: Whether the head is the transposed embedding.
    """
    blocks = [BlockConfig(mixer=mixer, feed_forward=(MLPConfig(width=mlp),)) for mixer in mixers]
    return stack(vocab_size, width, blocks, tied=tied)


def mamba_mixer(width: int, state: int = 16) -> MambaConfig:
    """A Mamba mixer with the usual proportions: 2 * width channels and a time-step rank of width / 16.

    Args:
        width: Width of the residual stream.
        state: State elements a channel.
    """
    return MambaConfig(inner=2 * width, state=state, rank=-(-width // 16))


def stack(vocab_size: int, width: int, blocks: Sequence[BlockConfig], *, tied: bool) -> DecoderConfig:
    """A model from blocks, with an embedding and a head.

    Args:
        vocab_size: Rows of the embedding.
        width: Width of the residual stream.
        blocks: The blocks, in order.
        tied: Whether the head is the transposed embedding.
    """
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
