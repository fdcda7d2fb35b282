"""StarCoder 2: LayerNorm, biases in all layers, an MLP without a gate."""

from typing import Any, Literal

from pydantic import PositiveFloat, PositiveInt

from lazarus_models.config.architecture import BlockConfig, DecoderConfig, MLPConfig, NormConfig
from lazarus_models.config.huggingface import TransformerConfig
from lazarus_models.families.family import Family, attention, decoder


class Starcoder2Config(TransformerConfig):
    """The keys of a StarCoder 2's `config.json`."""

    max_position_embeddings: PositiveInt | None = 4096
    num_key_value_heads: PositiveInt = 2
    tie_word_embeddings: bool = True
    hidden_act: Literal["gelu_pytorch_tanh", "gelu"] = "gelu_pytorch_tanh"
    norm_epsilon: PositiveFloat = 1e-5
    """Added to the variance before the root."""
    use_bias: bool = True
    """Whether projections have biases."""
    sliding_window: PositiveInt | None = None
    """Tokens that a token sees, itself included; null for all."""

    @classmethod
    def _complete(cls, said: dict[str, Any]) -> None:
        said.setdefault("num_key_value_heads", 2)
        super()._complete(said)


def _architecture(config: Starcoder2Config) -> DecoderConfig:
    norm = NormConfig(kind="layer", eps=config.norm_epsilon, bias=True)
    mlp = MLPConfig(
        width=config.intermediate_size,
        activation="gelu" if config.hidden_act == "gelu" else "gelu_tanh",
        gated=False,
        bias=config.use_bias,
    )
    mixer = attention(config, bias=config.use_bias, output_bias=config.use_bias, window=config.sliding_window)
    block = BlockConfig(mixer=mixer, feed_forward=(mlp,), norm=norm)
    return decoder(config, (block,) * config.num_hidden_layers, norm)


FAMILY = Family(Starcoder2Config, _architecture)
