"""Granite 4: Mamba 2 layers and attention layers without positions, with experts and a shared MLP."""

from typing import Any, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from lazarus_models.config.architecture import (
    BlockConfig,
    DecoderConfig,
    FeedForward,
    Mamba2Config,
    MLPConfig,
    MoEConfig,
    NormConfig,
)
from lazarus_models.config.huggingface import LayeredConfig
from lazarus_models.families.family import Family, attention, decoder
from lazarus_models.families.granitemoe import EXPERTS
from lazarus_models.weight_mapping import Layout, halves, renamed, swapped

_KINDS = {"attention": "full_attention", "mamba": "linear_attention"}  # the names in transformers 4


class GraniteMoeHybridConfig(LayeredConfig):
    """The keys of a Granite 4's `config.json`; the multipliers are explained in `granite`."""

    hidden_act: Literal["silu"] = "silu"
    kinds = ("full_attention", "linear_attention")
    max_position_embeddings: PositiveInt | None = 2048
    attention_bias: bool = False
    """Whether the attention's projections have biases."""
    attention_multiplier: float = 1.0
    embedding_multiplier: float = 1.0
    residual_multiplier: float = 1.0
    logits_scaling: float = 1.0
    position_embedding_type: Literal["rope", "nope"] | None = None
    """`rope` for RoPE in the attention layers, `nope` or null for no positions."""
    num_local_experts: NonNegativeInt = 8
    """Experts; 0 for the shared MLP only."""
    num_experts_per_tok: PositiveInt = 2
    shared_intermediate_size: PositiveInt = 1024
    """Width inside the shared MLP."""
    mamba_n_heads: PositiveInt = 128
    mamba_d_head: Literal["auto"] | PositiveInt = 64
    mamba_d_state: PositiveInt = 256
    mamba_n_groups: PositiveInt = 1
    mamba_d_conv: PositiveInt = 4
    mamba_expand: PositiveInt = 2
    mamba_conv_bias: bool = True
    mamba_proj_bias: bool = False
    time_step_limit: tuple[float, PositiveFloat] = (0.0, float("inf"))
    """Bounds of the time step."""

    @classmethod
    def _complete(cls, said: dict[str, Any]) -> None:
        super()._complete(said)
        layers = said.get("num_hidden_layers")
        types: Any = said.get("layer_types", said.get("layers_block_type"))
        if types is None and isinstance(layers, int):
            types = ("linear_attention",) * layers
        if isinstance(types, tuple):
            said["layer_types"] = tuple(_KINDS.get(kind, kind) for kind in types)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] (JSON)


def _architecture(config: GraniteMoeHybridConfig) -> DecoderConfig:
    norm = NormConfig(eps=config.rms_norm_eps)
    mamba = Mamba2Config(
        num_heads=config.mamba_n_heads,
        head_dim=config.mamba_expand * config.hidden_size // config.mamba_n_heads
        if config.mamba_d_head == "auto"
        else config.mamba_d_head,
        state=config.mamba_d_state,
        groups=config.mamba_n_groups,
        kernel=config.mamba_d_conv,
        bias=config.mamba_proj_bias,
        conv_bias=config.mamba_conv_bias,
        time_step_limit=config.time_step_limit,
        norm=norm,
    )
    attending = attention(
        config,
        bias=config.attention_bias,
        output_bias=config.attention_bias,
        scale=config.attention_multiplier,
        rope=config.rope if config.position_embedding_type == "rope" else None,
    )
    blocks = tuple(
        BlockConfig(
            mixer=attending if layer_type == "full_attention" else mamba,
            feed_forward=_feed_forward(config),
            norm=norm,
            residual_scale=config.residual_multiplier,
        )
        for layer_type in config.layer_types
    )
    return decoder(
        config,
        blocks,
        norm,
        embedding_scale=config.embedding_multiplier,
        logits_divisor=config.logits_scaling,
    )


def _feed_forward(config: GraniteMoeHybridConfig) -> tuple[FeedForward, ...]:
    if not config.num_local_experts:
        return (MLPConfig(width=config.shared_intermediate_size),)
    experts = MoEConfig(
        num_experts=config.num_local_experts,
        num_experts_per_tok=config.num_experts_per_tok,
        width=config.intermediate_size,
        names=("router.layer", "switch_mlp"),
        name="block_sparse_moe",
    )
    return (experts, MLPConfig(width=config.shared_intermediate_size, fused=True, name="shared_mlp"))


def _layout(config: GraniteMoeHybridConfig) -> Layout:
    convolution = swapped("conv1d.weight")
    if config.num_local_experts:
        return Layout(rules=(*EXPERTS.rules, convolution))
    return Layout(  # models use mlx-lm's names of the MLP
        rules=(
            halves("shared_mlp.input_linear.weight", "mlp.gate_proj.weight", "mlp.up_proj.weight"),
            renamed("shared_mlp.output_linear.weight", "mlp.down_proj.weight"),
            convolution,
        )
    )


FAMILY = Family(GraniteMoeHybridConfig, _architecture, _layout)
