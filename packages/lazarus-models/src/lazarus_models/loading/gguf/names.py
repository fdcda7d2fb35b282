"""Names of tensors in GGUF and in Hugging Face files, and the order of the rows of queries and keys."""

import re
from typing import Any

_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_gate_inp": "block_sparse_moe.gate",
    "ffn_gate_exps": "block_sparse_moe.switch_mlp.gate_proj",
    "ffn_up_exps": "block_sparse_moe.switch_mlp.up_proj",
    "ffn_down_exps": "block_sparse_moe.switch_mlp.down_proj",
}
"""Parts of a block; https://github.com/ggml-org/ggml/blob/master/docs/gguf.md"""
_GEMMA = {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
"""The norms of a Gemma, which has four in a block."""
_OURS = {ours: theirs for theirs, ours in (_TOP | _BLOCK).items()}
ROPE_FACTORS = "rope_freqs.weight"
"""Divisors of the frequencies of RoPE, (head_dim / 2,)."""


def name_in_model(name: str, architecture: str) -> str | None:
    """The Hugging Face name of a tensor; None if the format has no such tensor.

    Args:
        name: Name in the file, such as `blk.0.attn_q.weight`.
        architecture: Value of `general.architecture`.

    >>> name_in_model("blk.0.attn_q.weight", "llama")
    'model.layers.0.self_attn.q_proj.weight'
    """
    if found := re.fullmatch(r"blk\.(0|[1-9]\d{0,5})\.(\w+)\.(weight|bias)", name):
        layer, part, end = found.groups()
        table = _BLOCK | _GEMMA if architecture.startswith("gemma") else _BLOCK
        return f"model.layers.{layer}.{table[part]}.{end}" if part in table else None
    part, _, end = name.rpartition(".")
    return f"{_TOP[part]}.{end}" if part in _TOP and end == "weight" else None


def name_in_file(name: str) -> str:
    """The inverse of `name_in_model`, for families without a Gemma's norms.

    >>> name_in_file("model.layers.0.self_attn.q_proj.weight")
    'blk.0.attn_q.weight'
    """
    part, _, end = name.rpartition(".")
    if found := re.fullmatch(r"model\.layers\.(\d+)\.(.+)", part):
        return f"blk.{found[1]}.{_OURS[found[2]]}.{end}"
    return f"{_OURS[part]}.{end}"


def is_rotated(name: str) -> bool:
    """Whether a tensor has one row for each rotated dimension, by its name in the file."""
    return name.endswith(("attn_q.weight", "attn_k.weight", "attn_q.bias", "attn_k.bias"))


def neighbours_to_halves(tensor: Any, num_heads: int) -> Any:
    """Rows of queries or keys in Hugging Face's order.

    RoPE turns pairs of dimensions. llama.cpp pairs neighbouring rows of a Llama; Hugging Face pairs a row of each half.

    Args:
        tensor: numpy or MLX array, (H * D, ...).
        num_heads: Number of heads H.
    """
    pairs = tensor.reshape(num_heads, -1, 2, *tensor.shape[1:])
    return pairs.swapaxes(1, 2).reshape(tensor.shape)


def halves_to_neighbours(tensor: Any, num_heads: int) -> Any:
    """The inverse of `neighbours_to_halves`.

    Args:
        tensor: numpy or MLX array, (H * D, ...).
        num_heads: Number of heads H.
    """
    halves = tensor.reshape(num_heads, 2, -1, *tensor.shape[1:])
    return halves.swapaxes(1, 2).reshape(tensor.shape)
