"""Gemma 3 and FunctionGemma: four norms a block, GeGLU, and sliding-window layers with a separate RoPE.

The embeddings are multiplied by the square root of the width in the precision of the weights, as in transformers; mlx-lm always
rounds the factor to bfloat16.
"""

from typing import Any, Literal

from pydantic import PositiveInt

from lazarus_models.config.architecture import BlockConfig, DecoderConfig, MLPConfig, NormConfig, RopeConfig
from lazarus_models.config.huggingface import LayeredConfig, rope_of
from lazarus_models.families.family import Family, attention, decoder


class Gemma3Config(LayeredConfig):
    """The keys of a Gemma 3's `config.json`, or of its `text_config`; Google's files omit many of them."""

    kinds = ("full_attention", "sliding_attention")
    vocab_size: PositiveInt = 262208
    hidden_size: PositiveInt = 2304
    intermediate_size: PositiveInt = 9216
    num_hidden_layers: PositiveInt = 26
    num_attention_heads: PositiveInt = 8
    num_key_value_heads: PositiveInt = 4
    head_dim: PositiveInt = 256
    max_position_embeddings: PositiveInt | None = 131072
    tie_word_embeddings: bool = True
    hidden_activation: Literal["gelu_pytorch_tanh"] = "gelu_pytorch_tanh"
    """The MLP's activation."""
    attention_bias: bool = False
    """Whether the attention's projections have biases."""
    query_pre_attn_scalar: PositiveInt = 256
    """Scores are divided by its square root."""
    sliding_window: PositiveInt = 4096
    """Tokens that a token sees in layers of `sliding_attention`, itself included."""
    rope_local: RopeConfig
    """RoPE of layers of `sliding_attention`."""
    attn_logit_softcapping: Literal[None] = None
    final_logit_softcapping: Literal[None] = None
    use_bidirectional_attention: Literal[False] = False

    @classmethod
    def _complete(cls, said: dict[str, Any]) -> None:
        for size in ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim"):
            said.setdefault(size, cls.model_fields[size].default)
        nested: Any = said.get("rope_parameters")
        if isinstance(nested, dict) and "full_attention" in nested:
            said["rope"] = rope_of(nested["full_attention"], 1e6)  # pyright: ignore[reportUnknownArgumentType] (JSON)
            said["rope_local"] = rope_of(nested.get("sliding_attention") or {}, 1e4)  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType] (JSON)
        else:
            said["rope"] = rope_of(said.get("rope_scaling") or {}, said.get("rope_theta", 1e6))
            said["rope_local"] = RopeConfig(rope_theta=said.get("rope_local_base_freq", 1e4))
        pattern = said.get("_sliding_window_pattern", said.get("sliding_window_pattern", 6))
        layers = said["num_hidden_layers"]
        if isinstance(layers, int) and isinstance(pattern, int) and pattern > 0 and "layer_types" not in said:
            kinds = ("sliding_attention", "full_attention")
            said["layer_types"] = tuple(kinds[(layer + 1) % pattern == 0] for layer in range(layers))

    def _rope_keys(self) -> dict[str, Any]:
        full, local = self.rope.model_dump(exclude_none=True), self.rope_local.model_dump(exclude_none=True)
        return {
            "rope_parameters": {"full_attention": full, "sliding_attention": local},
            "rope_theta": self.rope.rope_theta,
            "rope_scaling": self.rope.scaling,
            "rope_local_base_freq": self.rope_local.rope_theta,
        }


def _architecture(config: Gemma3Config) -> DecoderConfig:
    norm = NormConfig(eps=config.rms_norm_eps, one_plus=True)

    def block(layer_type: str) -> BlockConfig:
        local = layer_type == "sliding_attention"
        return BlockConfig(
            mixer=attention(
                config,
                bias=config.attention_bias,
                output_bias=config.attention_bias,
                rope=config.rope_local if local else config.rope,
                window=config.sliding_window if local else None,
                scale=config.query_pre_attn_scalar**-0.5,
                qk_norm="head",
                norm=norm,
            ),
            feed_forward=(MLPConfig(width=config.intermediate_size, activation="gelu_tanh"),),
            norm=norm,
            norm_names=(
                "input_layernorm",
                "post_attention_layernorm",
                "pre_feedforward_layernorm",
                "post_feedforward_layernorm",
            ),
        )

    blocks = tuple(block(layer_type) for layer_type in config.layer_types)
    return decoder(config, blocks, norm, embedding_scale=config.hidden_size**0.5)


FAMILY = Family(Gemma3Config, _architecture)
