"""gpt-oss: learned attention sinks, a window in every other layer, experts with a clamped SwiGLU and biases.

In files, gate and up projections are alternating columns of a transposed matrix. In the published MXFP4 files they are
alternating rows of 4-bit weights.
"""

from typing import Any, Literal

from pydantic import PositiveFloat, PositiveInt

from lazarus_models.config.architecture import BlockConfig, DecoderConfig, MoEConfig, NormConfig
from lazarus_models.config.huggingface import LayeredConfig
from lazarus_models.families.family import Family, attention, decoder
from lazarus_models.weight_mapping import (
    Layout,
    Rule,
    blocks,
    interleaved,
    interleaved_rows,
    renamed,
    transposed,
)

_YARN = {  # transformers' default, equal to the published models' settings
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}


class GptOssConfig(LayeredConfig):
    """The keys of a gpt-oss's `config.json`."""

    hidden_act: Literal["silu"] = "silu"
    kinds = ("full_attention", "sliding_attention")
    max_position_embeddings: PositiveInt | None = 131072
    num_key_value_heads: PositiveInt = 8
    rms_norm_eps: PositiveFloat = 1e-5
    attention_bias: bool = True
    """Whether the attention's projections have biases."""
    sliding_window: PositiveInt = 128
    """Tokens that a token sees in layers of `sliding_attention`, itself included."""
    num_local_experts: PositiveInt = 128
    num_experts_per_tok: PositiveInt = 4
    swiglu_alpha: PositiveFloat = 1.702
    """Steepness of the gate."""
    swiglu_limit: PositiveFloat = 7.0
    """Bound of gate and up projections."""

    @classmethod
    def _complete(cls, said: dict[str, Any]) -> None:
        said.setdefault("head_dim", 64)
        said.setdefault("num_key_value_heads", 8)
        said.setdefault("rope_theta", 150000.0)
        if not said.get("rope_parameters"):
            said.setdefault("rope_scaling", _YARN)
        super()._complete(said)
        layers = said.get("num_hidden_layers")
        if isinstance(layers, int) and "layer_types" not in said:
            kinds = ("sliding_attention", "full_attention")
            said["layer_types"] = tuple(kinds[layer % 2] for layer in range(layers))


def _architecture(config: GptOssConfig) -> DecoderConfig:
    norm = NormConfig(eps=config.rms_norm_eps)
    experts = MoEConfig(
        num_experts=config.num_local_experts,
        num_experts_per_tok=config.num_experts_per_tok,
        width=config.intermediate_size,
        clamp=(config.swiglu_alpha, config.swiglu_limit),
        bias=True,
        names=("router", "experts"),
    )
    blocks = tuple(
        BlockConfig(
            mixer=attention(
                config,
                bias=config.attention_bias,
                output_bias=config.attention_bias,
                sinks=True,
                window=config.sliding_window if layer_type == "sliding_attention" else None,
            ),
            feed_forward=(experts,),
            norm=norm,
        )
        for layer_type in config.layer_types
    )
    return decoder(config, blocks, norm)


_EXPERTS = "mlp.experts."


def _interleaved(end: str, leaf: str, *, matrix: bool) -> Rule:
    gate, up = (f"{_EXPERTS}{part}_proj.{leaf}" for part in ("gate", "up"))
    return interleaved(f"{_EXPERTS}gate_up_proj{end}", gate, up, matrix=matrix)


def _interleaved_rows(end: str, leaf: str, *, in_blocks: bool) -> Rule:
    gate, up = (f"{_EXPERTS}{part}_proj.{leaf}" for part in ("gate", "up"))
    return interleaved_rows(f"{_EXPERTS}gate_up_proj{end}", gate, up, in_blocks=in_blocks)


_BIASES = (
    _interleaved("_bias", "bias", matrix=False),
    renamed(f"{_EXPERTS}down_proj_bias", f"{_EXPERTS}down_proj.bias"),
)
_PLAIN = (
    _interleaved("", "weight", matrix=True),
    transposed(f"{_EXPERTS}down_proj", f"{_EXPERTS}down_proj.weight"),
)
_PUBLISHED = (
    _interleaved_rows("_blocks", "weight", in_blocks=True),
    _interleaved_rows("_scales", "scales", in_blocks=False),
    blocks(f"{_EXPERTS}down_proj_blocks", f"{_EXPERTS}down_proj.weight"),
    renamed(f"{_EXPERTS}down_proj_scales", f"{_EXPERTS}down_proj.scales"),
)


def _layout(config: GptOssConfig) -> Layout:
    is_published = config.quantization is not None and config.quantization.mode == "mxfp4"
    return Layout(rules=(_PUBLISHED if is_published else _PLAIN) + _BIASES)


FAMILY = Family(GptOssConfig, _architecture, _layout)
