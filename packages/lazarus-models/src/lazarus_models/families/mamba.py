"""Mamba: a pure state-space model, one norm and one mixer a block."""

import math
from typing import Any, Literal

from pydantic import PositiveFloat, PositiveInt

from lazarus_models.config.architecture import BlockConfig, DecoderConfig, MambaConfig, NormConfig
from lazarus_models.config.huggingface import ModelConfig
from lazarus_models.families.family import Family, decoder
from lazarus_models.weight_mapping import Layout, swapped


class MambaModelConfig(ModelConfig):
    """The keys of a Mamba's `config.json`."""

    tie_word_embeddings: bool = True
    initializer_range: float = 0.1
    state_size: PositiveInt = 16
    """State elements a channel."""
    conv_kernel: PositiveInt = 4
    """Tokens that the convolution sees."""
    intermediate_size: PositiveInt
    """Channels; `expand * hidden_size` by default."""
    time_step_rank: PositiveInt
    """Width of the vector from which the time steps are computed; `hidden_size / 16` by default."""
    layer_norm_epsilon: PositiveFloat = 1e-5
    """Added to the mean square before the root."""
    use_bias: bool = False
    """Whether input and output projections have biases."""
    use_conv_bias: bool = True
    """Whether the convolution has a bias."""
    hidden_act: Literal["silu"] = "silu"

    @classmethod
    def _complete(cls, said: dict[str, Any]) -> None:
        width, expand = said.get("hidden_size"), said.get("expand", 2)
        if isinstance(width, int) and isinstance(expand, int):
            said.setdefault("intermediate_size", expand * width)
            if said.get("time_step_rank", "auto") == "auto":
                said["time_step_rank"] = math.ceil(width / 16)


def _architecture(config: MambaModelConfig) -> DecoderConfig:
    norm = NormConfig(eps=config.layer_norm_epsilon)
    mixer = MambaConfig(
        inner=config.intermediate_size,
        state=config.state_size,
        kernel=config.conv_kernel,
        rank=config.time_step_rank,
        bias=config.use_bias,
        conv_bias=config.use_conv_bias,
        name="mixer",
    )
    block = BlockConfig(mixer=mixer, norm=norm, norm_names=("norm",))
    return decoder(config, (block,) * config.num_hidden_layers, norm, names=("backbone", "embeddings", "norm_f"))


FAMILY = Family(MambaModelConfig, _architecture, Layout(rules=(swapped("conv1d.weight"),)))
