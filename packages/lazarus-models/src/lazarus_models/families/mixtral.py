"""Mixtral: Mistral with experts; their shares are a softmax over the chosen experts."""

from typing import Any, Literal

from pydantic import PositiveFloat, PositiveInt

from lazarus_models.config.architecture import BlockConfig, DecoderConfig, MoEConfig, NormConfig
from lazarus_models.config.huggingface import TransformerConfig
from lazarus_models.families.family import Family, attention, decoder
from lazarus_models.weight_mapping import Layout


class MixtralConfig(TransformerConfig):
    """The keys of a Mixtral's `config.json`."""

    hidden_act: Literal["silu"] = "silu"
    max_position_embeddings: PositiveInt | None = 131072
    num_key_value_heads: PositiveInt = 8
    rms_norm_eps: PositiveFloat = 1e-5
    sliding_window: PositiveInt | None = None
    """Tokens that a token sees, itself included; null for all."""
    num_local_experts: PositiveInt = 8
    num_experts_per_tok: PositiveInt = 2

    @classmethod
    def _complete(cls, said: dict[str, Any]) -> None:
        said.setdefault("rope_theta", 1e6)
        super()._complete(said)


def _architecture(config: MixtralConfig) -> DecoderConfig:
    norm = NormConfig(eps=config.rms_norm_eps)
    experts = MoEConfig(
        num_experts=config.num_local_experts,
        num_experts_per_tok=config.num_experts_per_tok,
        width=config.intermediate_size,
        name="block_sparse_moe",
    )
    block = BlockConfig(mixer=attention(config, window=config.sliding_window), feed_forward=(experts,), norm=norm)
    return decoder(config, (block,) * config.num_hidden_layers, norm)


FAMILY = Family(
    MixtralConfig,
    _architecture,
    Layout(
        stacked=(
            ("block_sparse_moe.experts.{}.w1", "block_sparse_moe.switch_mlp.gate_proj"),
            ("block_sparse_moe.experts.{}.w2", "block_sparse_moe.switch_mlp.down_proj"),
            ("block_sparse_moe.experts.{}.w3", "block_sparse_moe.switch_mlp.up_proj"),
        )
    ),
)
