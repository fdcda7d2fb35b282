"""Export of a model as a GGUF file, for llama.cpp and compatible programs.

Tensor names are those of the current format. (mlx-lm writes experts under obsolete names, and gives every token the same score,
with which llama.cpp tokenizes incorrectly.) A model that the format cannot express is refused.
"""

import errno
import os
from pathlib import Path
from typing import Any

from lazarus_core.atomic import whole_path
from lazarus_models.backend import mx
from lazarus_models.config.architecture import AttentionConfig
from lazarus_models.config.huggingface import TransformerConfig
from lazarus_models.errors import UnsupportedModel
from lazarus_models.loading.finite import refuse_infinite
from lazarus_models.loading.gguf.config import TURN_ENDS, is_llama3, llama3_divisors
from lazarus_models.loading.gguf.names import ROPE_FACTORS, halves_to_neighbours, is_rotated, name_in_file
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.trees import weights
from lazarus_tokenkit.errors import TokenizerError
from lazarus_tokenkit.tokenizers import gguf_vocabulary

FAMILIES = ("llama", "mistral", "mixtral", "qwen2", "qwen3")
_ARCHITECTURES = {"qwen2": "qwen2", "qwen3": "qwen3"}  # the others are a llama
_BIASED = ("qwen2",)  # families whose biases the format expects
_F16_FILE = 1  # `general.file_type`: mostly float16


def export_gguf(lm: LoadedModel, path: Path | str) -> None:
    """Writes a model as one GGUF file: matrices in float16, norms and routers in float32.

    Args:
        lm: A model of one of `FAMILIES` with plain weights, and a byte-level BPE or SentencePiece BPE tokenizer.
        path: The file; an existing file is replaced completely or not at all.

    Raises:
        UnsupportedModel: The format cannot express the model or its tokenizer.
        WeightsError: A weight is infinite in float16.
    """
    path, config = Path(path), _refuse_unsaid(lm)
    metadata = _description(config, path.stem) | _vocabulary(lm)
    named = dict(_entry(name, tensor, config) for name, tensor in weights(lm.model).items())
    if config.rope.rope_type == "llama3":
        named[ROPE_FACTORS] = mx.array(llama3_divisors(config.rope, config.head_dim))  # it has no settings for them
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
    texts = [*metadata["tokenizer.ggml.tokens"], *metadata.get("tokenizer.ggml.merges", []), *named]
    described = sum(8 + len(text.encode()) for text in texts)
    if path.stat().st_size < described + sum(tensor.nbytes for tensor in named.values()):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _entry(name: str, tensor: mx.array, config: TransformerConfig) -> tuple[str, mx.array]:
    """A tensor with the format's name, order of rows and precision."""
    name = name_in_file(name)
    if _architecture(config) == "llama" and is_rotated(name):
        heads = config.num_attention_heads if "attn_q" in name else config.num_key_value_heads
        tensor = halves_to_neighbours(tensor, heads)
    in_full = tensor.ndim == 1 or name.endswith("ffn_gate_inp.weight")
    return name, tensor.astype(mx.float32 if in_full else mx.float16)


def _architecture(config: TransformerConfig) -> str:
    return _ARCHITECTURES.get(config.model_type, "llama")


def _description(config: TransformerConfig, name: str) -> dict[str, Any]:
    """The metadata of the model; in this format, a Mistral is a Llama, and a Mixtral is a Llama with experts."""
    said: dict[str, Any] = config.to_huggingface(dtype="float16")
    own = _architecture(config)
    counts = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "rope.dimension_count": config.head_dim,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "vocab_size": config.vocab_size,
        "expert_count": said.get("num_local_experts"),
        "expert_used_count": said.get("num_experts_per_tok"),
    }
    scaling: dict[str, Any] = {}
    if config.rope.rope_type == "linear" and config.rope.factor is not None:
        scaling = {
            f"{own}.rope.scaling.type": config.rope.rope_type,
            f"{own}.rope.scaling.factor": mx.array(config.rope.factor),
        }
    return {
        "general.architecture": own,
        "general.name": name,
        "general.alignment": _count(32),
        "general.file_type": _count(_F16_FILE),
        "general.quantization_version": _count(2),
        **{f"{own}.{key}": _count(value) for key, value in counts.items() if value is not None},
        f"{own}.attention.layer_norm_rms_epsilon": mx.array(config.rms_norm_eps),
        f"{own}.rope.freq_base": mx.array(config.rope.rope_theta),
        **scaling,
    }


def _vocabulary(lm: LoadedModel) -> dict[str, Any]:
    """The metadata of the tokenizer.

    Raises:
        UnsupportedModel: The format cannot express it.
    """
    try:
        said = gguf_vocabulary(lm.tokenizer, lm.config.vocab_size)
    except TokenizerError as error:
        raise UnsupportedModel(
            f"`gguf`: {error.message}; save the model as a directory, and use llama.cpp's own converter", "LM-E115"
        ) from error
    said |= dict(zip(TURN_ENDS, _turn_ends(lm), strict=False))
    return {key: _value(value) for key, value in said.items()}


def _turn_ends(lm: LoadedModel) -> list[int]:
    """The tokens that end an answer, beside the tokenizer's end of text."""
    return [token for token in lm.stop_ids if token != lm.tokenizer.eos_id]


def _value(value: Any) -> Any:
    """A value of the metadata as MLX writes it, with the format's types of numbers."""
    if isinstance(value, bool):
        return mx.array(value)
    if isinstance(value, int):
        return _count(value)
    if isinstance(value, list) and value and not isinstance(value[0], str):
        return mx.array(value, dtype=mx.float32 if isinstance(value[0], float) else mx.int32)  # pyright: ignore[reportUnknownArgumentType] (metadata)
    return value  # pyright: ignore[reportUnknownVariableType] (metadata)


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
        f"`rope_type` {config.rope.rope_type!r}": config.rope.rope_type not in ("default", "linear", "llama3"),
        "scaled RoPE other than that of Llama 3": config.rope.rope_type == "llama3" and not is_llama3(config.rope),
        "biases": lm.family not in _BIASED and any(name.endswith(".bias") for name in weights(lm.model)),
        f"{len(lm.stop_ids)} tokens that end an answer": len(_turn_ends(lm)) > len(TURN_ENDS),
        "a sliding window": any(
            isinstance(one, AttentionConfig) and (one.window or context) < context for one in mixers
        ),
    }
    if unsaid := [reason for reason, is_there in reasons.items() if is_there]:
        raise UnsupportedModel(f"`gguf`: the format cannot express {', '.join(unsaid)}", "LM-E115")
    return config
