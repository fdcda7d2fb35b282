"""Llama 1 to 3 and whatever calls itself `llama`: RMSNorm, RoPE, grouped-query attention, SwiGLU.

The architecture is mlx-lm's, which agrees with transformers once its arguments are complete.
"""

from lazarus_models.backend import nn
from lazarus_models.config import ModelConfig
from lazarus_models.errors import UnsupportedModel
from lazarus_models.families.family import Family, import_mlx_lm


def _build(config: ModelConfig) -> nn.Module:
    if config.hidden_act != "silu":
        raise UnsupportedModel(f"`hidden_act` {config.hidden_act!r}: family `llama` has `silu` only", "LM-E112")
    llama = import_mlx_lm("models.llama")
    return llama.Model(
        llama.ModelArgs(
            model_type=config.model_type,
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_hidden_layers,
            intermediate_size=config.intermediate_size,
            num_attention_heads=config.num_attention_heads,
            rms_norm_eps=config.rms_norm_eps,
            vocab_size=config.vocab_size,
            head_dim=config.head_dim,
            max_position_embeddings=config.max_position_embeddings,
            num_key_value_heads=config.num_key_value_heads,
            attention_bias=config.attention_bias,
            mlp_bias=config.mlp_bias,
            rope_theta=config.rope.rope_theta,
            rope_scaling=config.rope.scaling,
            tie_word_embeddings=config.tie_word_embeddings,
        )
    )


FAMILY = Family(
    model_type="llama",
    defaults={  # of transformers' LlamaConfig
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "attention_bias": False,
        "mlp_bias": False,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "initializer_range": 0.02,
    },
    build=_build,
    residual_projections=("o_proj", "down_proj"),
    linear_layers=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    unused_tensors=(".rotary_emb.inv_freq",),
    supports_packing=True,
)
