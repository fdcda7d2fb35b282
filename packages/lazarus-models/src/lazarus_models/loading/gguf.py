"""Export of a model as a GGUF file, for llama.cpp and compatible programs.

Tensor names are those of the current format. (mlx-lm writes experts under obsolete names, and gives every token the same score,
with which llama.cpp tokenizes incorrectly.) A model that the format cannot express is refused.
"""

import errno
import os
import tempfile
from enum import IntEnum
from pathlib import Path
from typing import Any

from lazarus_core.atomic import whole_path
from lazarus_core.strict_json import read_object
from lazarus_models.backend import mx
from lazarus_models.config.architecture import AttentionConfig
from lazarus_models.config.huggingface import TransformerConfig
from lazarus_models.errors import UnsupportedModel
from lazarus_models.loading.finite import refuse_infinite
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.trees import weights

FAMILIES = ("llama", "mistral", "mixtral")
_NAMES = (  # ours, and the format's; https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
    ("model.layers.", "blk."),
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
    ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.", "attn_"),
    ("block_sparse_moe.switch_mlp.gate_proj", "ffn_gate_exps"),
    ("block_sparse_moe.switch_mlp.up_proj", "ffn_up_exps"),
    ("block_sparse_moe.switch_mlp.down_proj", "ffn_down_exps"),
    ("block_sparse_moe.gate", "ffn_gate_inp"),
    ("mlp.", "ffn_"),
    ("_proj.", "."),
)
_NEWLINE = "<0x0A>"  # this piece exists in every SentencePiece vocabulary with byte fallback


class TokenKind(IntEnum):
    """The format's numbers of token kinds."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    UNUSED = 5
    BYTE = 6


def export_gguf(lm: LoadedModel, path: Path) -> None:
    """Writes a model as one GGUF file: matrices in float16, norms and routers in float32.

    Args:
        lm: A Llama, Mistral or Mixtral with plain weights and a SentencePiece tokenizer.
        path: The file; an existing file is replaced completely or not at all.

    Raises:
        UnsupportedModel: The format cannot express the model or its tokenizer.
        WeightsError: A weight is infinite in float16.
    """
    config = _refuse_unsaid(lm)
    metadata = _description(config, path.stem) | _vocabulary(lm)
    named = dict(_entry(name, tensor, config) for name, tensor in weights(lm.model).items())
    refuse_infinite(named, "`gguf`")  # a weight beyond 65,504 is infinite in float16
    with whole_path(path, "model.gguf") as written:  # MLX wants the ending
        _write(written, named, metadata)


def _write(path: Path, named: dict[str, mx.array], metadata: dict[str, Any]) -> None:
    """Writes the file with MLX.

    Raises:
        OSError: The disk is full. MLX raises RuntimeError, or nothing if only the last block does not fit.
    """
    try:
        mx.save_gguf(str(path), named, metadata)  # pyright: ignore[reportUnknownMemberType] (the stub leaves the result out)
    except RuntimeError as error:
        raise OSError(errno.ENOSPC, f"the file cannot be written, as on a full disk ({error})") from error
    texts = metadata["tokenizer.ggml.tokens"]
    described = sum(8 + len(text.encode()) for text in (*texts, *named))
    if path.stat().st_size < described + sum(tensor.nbytes for tensor in named.values()):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _entry(name: str, tensor: mx.array, config: TransformerConfig) -> tuple[str, mx.array]:
    """A tensor with the format's name, order of rows and precision."""
    for ours, theirs in _NAMES:
        name = name.replace(ours, theirs)
    if name.endswith(("attn_q.weight", "attn_k.weight")):
        # RoPE pairs: llama.cpp rotates neighbouring rows, Hugging Face a row of each half. The halves are interleaved.
        heads = config.num_attention_heads if name.endswith("q.weight") else config.num_key_value_heads
        halves = mx.reshape(tensor, (heads, 2, -1, tensor.shape[-1]))
        tensor = mx.reshape(mx.swapaxes(halves, 1, 2), tensor.shape)
    in_full = name.endswith(("norm.weight", "ffn_gate_inp.weight"))
    return name, tensor.astype(mx.float32 if in_full else mx.float16)


def _description(config: TransformerConfig, name: str) -> dict[str, Any]:
    """The metadata of the model; in this format, a Mistral is a Llama, and a Mixtral is a Llama with experts."""
    said: dict[str, Any] = config.to_huggingface(dtype="float16")
    counts = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "rope.dimension_count": config.head_dim,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "vocab_size": config.vocab_size,
        "expert_count": said.get("num_local_experts"),
        "expert_used_count": said.get("num_experts_per_tok"),
    }
    scaling: dict[str, Any] = {}
    if config.rope.factor is not None:
        scaling = {
            "llama.rope.scaling.type": config.rope.rope_type,
            "llama.rope.scaling.factor": mx.array(config.rope.factor),
        }
    return {
        "general.architecture": "llama",
        "general.name": name,
        "general.alignment": _count(32),
        "general.file_type": _count(1),  # mostly float16
        "general.quantization_version": _count(2),
        **{f"llama.{key}": _count(value) for key, value in counts.items() if value is not None},
        "llama.attention.layer_norm_rms_epsilon": mx.array(config.rms_norm_eps),
        "llama.rope.freq_base": mx.array(config.rope.rope_theta),
        **scaling,
    }


def _vocabulary(lm: LoadedModel) -> dict[str, Any]:
    """The metadata of the tokenizer; earlier pieces have higher scores, as in SentencePiece."""
    with tempfile.TemporaryDirectory() as folder:
        lm.tokenizer.save(Path(folder))
        file = Path(folder) / "tokenizer.json"
        said: dict[str, Any] = read_object(file) if file.exists() else {}
    pieces: dict[str, int] = said.get("model", {}).get("vocab", {}) if said else {}
    if _NEWLINE not in pieces:
        raise UnsupportedModel(
            "`gguf`: only SentencePiece tokenizers with byte fallback can be exported; save the model as a directory and use "
            "llama.cpp's own converter",
            "LM-E115",
        )
    if lm.tokenizer.encode("a  a") == lm.tokenizer.encode("a a"):
        raise UnsupportedModel(
            "`gguf`: the tokenizer folds double spaces, which the format cannot express, so readers would give other ids;"
            " save the model as a directory",
            "LM-E115",
        )
    added: list[dict[str, Any]] = said.get("added_tokens", [])
    special = {token["id"] for token in added if token.get("special")}
    by_id = {index: text for text, index in pieces.items()} | {token["id"]: token["content"] for token in added}
    unknown = pieces.get(said["model"].get("unk_token"))

    def described(index: int) -> tuple[str, float, TokenKind]:
        text = by_id.get(index)
        if text is None:  # a row of the embedding without a token
            return f"<unused{index}>", -float(index), TokenKind.UNUSED
        if index == unknown:
            return text, 0.0, TokenKind.UNKNOWN
        if index in special:
            return text, 0.0, TokenKind.CONTROL
        is_byte = len(text) == len(_NEWLINE) and text.startswith("<0x")
        return (text, 0.0, TokenKind.BYTE) if is_byte else (text, -float(index), TokenKind.NORMAL)

    texts, scores, kinds = zip(*map(described, range(lm.config.vocab_size)), strict=True)
    tokenizer = lm.tokenizer
    ids = {"bos": tokenizer.bos_id, "eos": tokenizer.eos_id, "unknown": unknown, "padding": tokenizer.pad_id}
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": list(texts),
        "tokenizer.ggml.scores": mx.array(scores),
        "tokenizer.ggml.token_type": mx.array(list(map(int, kinds)), dtype=mx.int32),
        **{f"tokenizer.ggml.{name}_token_id": _count(index) for name, index in ids.items() if index is not None},
        "tokenizer.ggml.add_bos_token": mx.array(tokenizer.adds_bos),
        "tokenizer.ggml.add_eos_token": mx.array(tokenizer.adds_eos),
        **({"tokenizer.chat_template": tokenizer.chat_template} if tokenizer.chat_template else {}),
    }


def _count(number: int) -> mx.array:
    return mx.array(number, dtype=mx.uint32)


def _refuse_unsaid(lm: LoadedModel) -> TransformerConfig:
    config = lm.config
    if lm.family not in FAMILIES or not isinstance(config, TransformerConfig):
        raise UnsupportedModel(
            f"`gguf`: family {lm.family!r} is not supported; supported are {', '.join(FAMILIES)}", "LM-E115"
        )
    mixers = [block.mixer for block in lm.model.config.blocks]
    context = config.max_position_embeddings or 0
    reasons = {
        "quantized weights": config.quantization is not None,
        f"`rope_type` {config.rope.rope_type!r}": config.rope.rope_type not in ("default", "linear"),
        f"`head_dim` {config.head_dim}": config.head_dim * config.num_attention_heads != config.hidden_size,
        "biases": any(name.endswith(".bias") for name in weights(lm.model)),
        "a sliding window": any(
            isinstance(one, AttentionConfig) and (one.window or context) < context for one in mixers
        ),
    }
    if unsaid := [reason for reason, is_there in reasons.items() if is_there]:
        raise UnsupportedModel(f"`gguf`: the format cannot express {', '.join(unsaid)}", "LM-E115")
    return config
