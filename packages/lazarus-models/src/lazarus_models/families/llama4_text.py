"""Llama 4, the text model: chunked attention, full attention without positions in every fourth layer, and experts.

mlx-lm supports experts only in the model of text and images, assumes every fourth layer, one expert a token and its own epsilon,
and cannot batch. Here the config determines all of these.
"""

from typing import Any, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from lazarus_models.config.architecture import BlockConfig, DecoderConfig, MLPConfig, MoEConfig, NormConfig
from lazarus_models.config.huggingface import LayeredConfig
from lazarus_models.families.family import Family, attention, decoder
from lazarus_models.weight_mapping import Layout, transposed, transposed_halves


class Llama4Config(LayeredConfig):
    """The keys of a Llama 4's `text_config`."""

    hidden_act: Literal["silu"] = "silu"
    kinds = ("full_attention", "chunked_attention")
    max_position_embeddings: PositiveInt | None = 131072
    num_key_value_heads: PositiveInt = 8
    rms_norm_eps: PositiveFloat = 1e-5
    attention_bias: bool = False
    """Whether the attention's projections have biases."""
    attention_chunk_size: PositiveInt = 8192
    """Positions of a chunk in layers of `chunked_attention`."""
    no_rope_layers: tuple[Literal[0, 1], ...]
    """For each layer, 1 if it uses RoPE and 0 if not (despite the name)."""
    use_qk_norm: bool = True
    """Whether layers with RoPE norm the heads of queries and keys."""
    attn_temperature_tuning: bool = True
    """Whether queries of layers without RoPE grow with the logarithm of the position."""
    floor_scale: PositiveInt = 8192
    """Positions for which the factor of these queries is constant."""
    attn_scale: PositiveFloat = 0.1
    """Growth of the factor of these queries."""
    intermediate_size_mlp: PositiveInt = 16384
    """Width inside the MLP of layers without experts."""
    moe_layers: tuple[NonNegativeInt, ...]
    """Numbers of the layers with experts."""
    num_local_experts: PositiveInt = 16
    num_experts_per_tok: PositiveInt = 1

    @classmethod
    def _complete(cls, said: dict[str, Any]) -> None:
        said.setdefault("head_dim", 128)
        said.setdefault("num_key_value_heads", 8)
        said.setdefault("rope_theta", 5e5)
        super()._complete(said)
        layers, step = said.get("num_hidden_layers"), said.get("interleave_moe_layer_step", 1)
        interval = said.get("no_rope_layer_interval", 4)
        if isinstance(tuning := said.get("attn_temperature_tuning"), int):  # Meta's files contain 4
            said["attn_temperature_tuning"] = bool(tuning)
        if isinstance(layers, int) and isinstance(step, int) and isinstance(interval, int) and step > 0 < interval:
            turned = tuple(int((layer + 1) % interval != 0) for layer in range(layers))
            said["no_rope_layers"] = said.get("no_rope_layers") or turned
            kinds = ("full_attention", "chunked_attention")
            said.setdefault("layer_types", tuple(kinds[bool(turn)] for turn in said["no_rope_layers"]))
            said.setdefault("moe_layers", tuple(range(step - 1, layers, step)))


def _architecture(config: Llama4Config) -> DecoderConfig:
    norm = NormConfig(eps=config.rms_norm_eps)
    experts = MoEConfig(
        num_experts=config.num_local_experts,
        num_experts_per_tok=config.num_experts_per_tok,
        width=config.intermediate_size,
        router="sigmoid",
        names=("router", "experts"),
        shared=MLPConfig(width=config.intermediate_size, name="shared_expert"),
        name="feed_forward",
    )
    mlp = MLPConfig(width=config.intermediate_size_mlp, name="feed_forward")

    def block(layer: int) -> BlockConfig:
        turns = bool(config.no_rope_layers[layer])
        chunked = config.layer_types[layer] == "chunked_attention"
        tuned = config.attn_temperature_tuning and not turns
        mixer = attention(
            config,
            bias=config.attention_bias,
            output_bias=config.attention_bias,
            rope=config.rope if turns else None,
            rope_interleaved=True,
            qk_norm="plain" if config.use_qk_norm and turns else None,
            norm=norm,
            chunk=config.attention_chunk_size if chunked else None,
            temperature=(config.floor_scale, config.attn_scale) if tuned else None,
        )
        return BlockConfig(mixer=mixer, feed_forward=(experts if layer in config.moe_layers else mlp,), norm=norm)

    return decoder(config, tuple(block(layer) for layer in range(config.num_hidden_layers)), norm)


FAMILY = Family(
    Llama4Config,
    _architecture,
    Layout(
        rules=(
            transposed_halves(
                "feed_forward.experts.gate_up_proj",
                "feed_forward.experts.gate_proj.weight",
                "feed_forward.experts.up_proj.weight",
            ),
            transposed("feed_forward.experts.down_proj", "feed_forward.experts.down_proj.weight"),
        )
    ),
)
