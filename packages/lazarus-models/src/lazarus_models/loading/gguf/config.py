"""Converts the metadata of a GGUF file to the content of a `config.json`.

Each architecture has a list of the keys that are read. Any other key of the architecture is refused by name, since it could
change what the model computes. Defaults are those of llama.cpp.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lazarus_models.components.rope import plain_wavelengths, wavelengths
from lazarus_models.config.architecture import RopeConfig
from lazarus_models.errors import ConfigError, UnsupportedModel
from lazarus_models.loading.gguf.header import GgufHeader
from lazarus_models.loading.gguf.names import ROPE_FACTORS

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma3")
"""Values of `general.architecture` that are read. In this format a Mistral is a Llama, and a Mixtral a Llama with experts."""
TURN_ENDS = ("tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")
"""Keys of further tokens that end an answer."""
_SIZES = {
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "context_length": "max_position_embeddings",
}
_READ = (
    *_SIZES,
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.causal",
    "attention.sliding_window",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "expert_count",
    "expert_used_count",
    "final_logit_softcapping",
    "attn_logit_softcapping",
    "vocab_size",
)
"""Keys that are read or have no effect, without the architecture's name."""
_MAX_SIZE = 1 << 31
_GEMMA_PERIOD = 6  # one layer in six sees all tokens
_GEMMA_LOCAL_BASE = 10_000.0
_GEMMA_27B_LAYERS = 62  # its queries are scaled by the width of the model, as in llama.cpp
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
"""The settings of every Llama 3 with scaled RoPE; a file has only the resulting divisors."""
_CONTEXTS = (8192, *(1 << power for power in range(4, 21)))
"""Lengths of the original context that are tried, first that of Llama 3."""
_FACTOR_ERROR = 1e-4  # the divisors are float32


def config_of(header: GgufHeader, path: Path) -> dict[str, Any]:
    """The content of a `config.json` for a file, without the scaling of a Llama 3 (see `llama3_rope`).

    Args:
        header: The file's header.
        path: The file, for messages.

    Raises:
        ConfigError: A key is missing or invalid.
        UnsupportedModel: The architecture or a setting is not supported.
    """
    architecture = header.metadata.get("general.architecture")
    if architecture not in ARCHITECTURES:
        raise UnsupportedModel(
            f"{path}: the architecture {str(architecture)[:80]!r} is not read; {', '.join(ARCHITECTURES)} are",
            "LM-E266",
        )
    return _Settings(header, architecture, path).config()


class _Settings:
    def __init__(self, header: GgufHeader, architecture: str, path: Path) -> None:
        self._header, self._architecture, self._path = header, architecture, path
        own = f"{architecture}."
        self._said = {key.removeprefix(own): value for key, value in header.metadata.items() if key.startswith(own)}

    def config(self) -> dict[str, Any]:
        self._refuse_others()
        sizes = {ours: self._size(key) for key, ours in _SIZES.items()}
        width, heads = sizes["hidden_size"], sizes["num_attention_heads"]
        head_dim = self._size("attention.key_length", width // heads)
        self._refuse_unless("attention.value_length", head_dim, head_dim)
        self._refuse_unless("rope.dimension_count", head_dim, head_dim)
        ids = {
            key: self._header.metadata.get(f"tokenizer.ggml.{key}")
            for key in ("bos_token_id", "eos_token_id", "padding_token_id")
        }
        if wrong := next((key for key, value in ids.items() if value is not None and type(value) is not int), None):
            raise self._invalid(f"tokenizer.ggml.{wrong}", ids[wrong], "a token's id")
        return {
            **sizes,
            "num_key_value_heads": self._size("attention.head_count_kv", heads),
            "head_dim": head_dim,
            "vocab_size": self._rows(),
            "rms_norm_eps": self._decimal("attention.layer_norm_rms_epsilon", 1e-5),
            "tie_word_embeddings": "output.weight" not in self._header.tensors,
            "bos_token_id": ids["bos_token_id"],
            "eos_token_id": ids["eos_token_id"],
            "pad_token_id": ids["padding_token_id"],
            **self._rope(),
            **getattr(self, f"_{self._architecture}")(head_dim, sizes),
        }

    def _llama(self, _head_dim: int, _sizes: Mapping[str, int]) -> dict[str, Any]:
        self._refuse_unless("attention.sliding_window", None, None)
        has = self._header.tensors
        if experts := self._said.get("expert_count", 0):
            used = self._size("expert_used_count")
            return {
                "model_type": "mixtral",
                "architectures": ["MixtralForCausalLM"],
                "num_local_experts": experts,
                "num_experts_per_tok": used,
                "sliding_window": None,
            }
        return {
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": "blk.0.attn_q.bias" in has,
            "mlp_bias": "blk.0.ffn_gate.bias" in has,
        }

    def _qwen2(self, _head_dim: int, _sizes: Mapping[str, int]) -> dict[str, Any]:
        self._refuse_unless("attention.sliding_window", None, None)
        self._refuse_unless("expert_count", 0, 0)
        return {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "use_sliding_window": False}

    def _qwen3(self, _head_dim: int, _sizes: Mapping[str, int]) -> dict[str, Any]:
        self._refuse_unless("attention.sliding_window", None, None)
        self._refuse_unless("expert_count", 0, 0)
        return {
            "model_type": "qwen3",
            "architectures": ["Qwen3ForCausalLM"],
            "attention_bias": "blk.0.attn_q.bias" in self._header.tensors,
            "use_sliding_window": False,
        }

    def _gemma3(self, head_dim: int, sizes: Mapping[str, int]) -> dict[str, Any]:
        self._refuse_unless("expert_count", 0, 0)
        self._refuse_unless("final_logit_softcapping", 0.0, 0.0)
        self._refuse_unless("attn_logit_softcapping", 0.0, 0.0)
        is_27b = sizes["num_hidden_layers"] == _GEMMA_27B_LAYERS
        kinds = ("sliding_attention", "full_attention")
        return {
            "model_type": "gemma3_text",
            "architectures": ["Gemma3ForCausalLM"],
            "sliding_window": self._size("attention.sliding_window"),
            "layer_types": [
                kinds[(layer + 1) % _GEMMA_PERIOD == 0] for layer in range(min(sizes["num_hidden_layers"], 1 << 12))
            ],
            "rope_local_base_freq": self._decimal("rope.freq_base_swa", _GEMMA_LOCAL_BASE),
            "query_pre_attn_scalar": sizes["hidden_size"] // sizes["num_attention_heads"] if is_27b else head_dim,
            "hidden_activation": "gelu_pytorch_tanh",
        }

    def _rope(self) -> dict[str, Any]:
        kind = self._said.get("rope.scaling.type", "none")
        factor = self._decimal("rope.scaling.factor", self._decimal("rope.scale_linear", 1.0))
        if kind not in ("none", "linear"):
            raise UnsupportedModel(
                f"{self._path}: `{self._architecture}.rope.scaling.type` {str(kind)[:80]!r} is not read; none and linear are",
                "LM-E266",
            )
        theta = {"rope_theta": self._decimal("rope.freq_base", 10_000.0)}
        return theta if factor == 1.0 else {**theta, "rope_scaling": {"rope_type": "linear", "factor": factor}}

    def _rows(self) -> int:
        embedding = self._header.tensors.get("token_embd.weight")
        if embedding is None:
            raise ConfigError(f"{self._path}: no tensor `token_embd.weight`, so this is no language model", "LM-E265")
        return embedding.shape[0]

    def _invalid(self, key: str, found: Any, expected: str) -> ConfigError:
        return ConfigError(f"{self._path}: `{key}` is {str(found)[:80]!r}, not {expected}", "LM-E265")

    def _size(self, key: str, default: int | None = None) -> int:
        found = self._said.get(key, default)
        if type(found) is not int or not 0 < found < _MAX_SIZE:
            raise self._invalid(f"{self._architecture}.{key}", found, f"one number from 1 to {_MAX_SIZE - 1:,}")
        return found

    def _decimal(self, key: str, default: float) -> float:
        """A positive number; a float32 is written with the digits that identify it."""
        found = self._said.get(key, default)
        if type(found) is not float or not (math.isfinite(found) and found > 0):
            raise self._invalid(f"{self._architecture}.{key}", found, "a positive decimal number")
        return float(str(np.float32(found)))

    def _refuse_unless(self, key: str, allowed: Any, default: Any) -> None:
        found = self._said.get(key, default)
        if found != allowed:
            raise UnsupportedModel(
                f"{self._path}: `{self._architecture}.{key}` {str(found)[:80]!r} is not supported, only {allowed!r}",
                "LM-E266",
            )

    def _refuse_others(self) -> None:
        if others := sorted(self._said.keys() - set(_READ)):
            raise UnsupportedModel(
                f"{self._path}: the setting `{self._architecture}.{others[0][:80]}` is not supported", "LM-E266"
            )
        self._refuse_unless("attention.causal", True, True)


def is_llama3(rope: RopeConfig) -> bool:
    """Whether a scaling can be read again from the divisors of its frequencies."""
    known = all(getattr(rope, key) == value for key, value in _LLAMA3.items())
    return rope.rope_type == "llama3" and known and rope.original_max_position_embeddings in _CONTEXTS


def llama3_divisors(rope: RopeConfig, head_dim: int) -> Any:
    """The numbers by which the frequencies are divided, float32, (head_dim / 2,).

    Args:
        rope: Of type `llama3`.
        head_dim: Width of a head, even.
    """
    scaled = wavelengths(head_dim, rope)
    assert scaled is not None
    return np.array(scaled / plain_wavelengths(head_dim, rope), dtype=np.float32)


def llama3_rope(divisors: Any, rope_theta: float, head_dim: int, path: Path) -> dict[str, Any]:
    """The `rope_scaling` of a Llama 3 whose frequencies are divided by these numbers.

    Args:
        divisors: The tensor `rope_freqs.weight`, (head_dim / 2,).
        rope_theta: Base of the wavelengths.
        head_dim: Width of a head.
        path: The file, for messages.

    Raises:
        UnsupportedModel: No Llama 3 has these divisors.
    """
    found = np.array(divisors, dtype=np.float64)
    if found.shape == (head_dim // 2,) and np.isfinite(found).all() and found.max() >= 1:
        factor = float(f"{found.max():.6g}")
        for context in _CONTEXTS:
            scaling: dict[str, Any] = {
                "rope_type": "llama3",
                "factor": factor,
                **_LLAMA3,
                "original_max_position_embeddings": context,
            }
            expected = llama3_divisors(RopeConfig(rope_theta=rope_theta, **scaling), head_dim)
            if np.abs(found / expected - 1).max() < _FACTOR_ERROR:
                return scaling
    raise UnsupportedModel(
        f"{path}: `{ROPE_FACTORS}` is not the scaling of a Llama 3 ({len(found):,} divisors), the only one that is read",
        "LM-E266",
    )
