"""Tiny configs of every family, for tests and examples without a download."""

from typing import Any

from lazarus_models.config.huggingface import ModelConfig
from lazarus_models.families import canonical

_SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "intermediate_size_mlp": 64,
    "shared_intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 300,
    "sliding_window": 8,
    "attention_chunk_size": 8,
    "num_local_experts": 4,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "attn_layer_period": 2,
    "attn_layer_offset": 1,
    "mamba_n_heads": 8,
    "mamba_d_head": 16,
    "mamba_d_state": 8,
    "layer_types": None,
}
"""Keys of all families; each family reads its own."""


def tiny_config(family: str) -> ModelConfig:
    """A config of four small layers, with the kinds of layers that the family's published models have.

    Args:
        family: A value of `ModelFamilyType`, except `lazarus_decoder`, whose models have no common form.

    Raises:
        ModelsError: There is no such family, or it has no common form.

    >>> tiny_config("jamba").num_hidden_layers
    4
    """
    hybrid = {"layer_types": ["mamba", "mamba", "attention", "mamba"]} if family == "granitemoehybrid" else {}
    return canonical({**_SIZES, **hybrid, "model_type": family}, family)
