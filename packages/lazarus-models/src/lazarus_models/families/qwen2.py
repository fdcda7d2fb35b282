"""Qwen 2 and 2.5: a Llama whose query, key and value projections have biases."""

from typing import Any, Literal

from pydantic import PositiveInt

from lazarus_models.config.architecture import BlockConfig, DecoderConfig, MLPConfig, NormConfig
from lazarus_models.config.huggingface import LayeredConfig
from lazarus_models.families.family import Family, attention, decoder


class Qwen2Config(LayeredConfig):
    """The keys of a Qwen 2's `config.json`."""

    hidden_act: Literal["silu"] = "silu"
    kinds = ("full_attention", "sliding_attention")
    max_position_embeddings: PositiveInt | None = 32768
    sliding_window: PositiveInt | None = None
    """Tokens that a token sees in layers of `sliding_attention`, itself included."""

    @classmethod
    def _complete(cls, said: dict[str, Any]) -> None:
        said.setdefault("num_key_value_heads", 32)
        super()._complete(said)
        window = said.get("sliding_window", 4096) if said.get("use_sliding_window") is True else None
        said["sliding_window"] = window
        layers, first = said.get("num_hidden_layers"), said.get("max_window_layers", 28)
        if isinstance(layers, int) and isinstance(first, int) and "layer_types" not in said:
            full = layers if window is None else min(first, layers)
            said["layer_types"] = ("full_attention",) * full + ("sliding_attention",) * (layers - full)


def _architecture(config: Qwen2Config) -> DecoderConfig:
    norm = NormConfig(eps=config.rms_norm_eps)
    blocks = tuple(
        BlockConfig(
            mixer=attention(
                config,
                bias=True,
                output_bias=False,
                window=config.sliding_window if layer_type == "sliding_attention" else None,
            ),
            feed_forward=(MLPConfig(width=config.intermediate_size),),
            norm=norm,
        )
        for layer_type in config.layer_types
    )
    return decoder(config, blocks, norm)


FAMILY = Family(Qwen2Config, _architecture)
