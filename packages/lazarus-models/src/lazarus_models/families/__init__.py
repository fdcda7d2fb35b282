"""The supported model families, one file each, named by `model_type`."""

from collections.abc import Callable
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from lazarus_models.config.architecture import MAX_LAYERS
from lazarus_models.config.huggingface import ModelConfig, in_words, read_json
from lazarus_models.errors import ConfigError, UnsupportedModel
from lazarus_models.families.family import Family as Family
from lazarus_models.families.plugins import GROUP, config_errors, outside_family


class ModelFamilyType(StrEnum):
    """The supported families by `model_type`."""

    GEMMA3 = "gemma3_text"
    GPT_OSS = "gpt_oss"
    GRANITE = "granite"
    GRANITE_MOE = "granitemoe"
    GRANITE_HYBRID = "granitemoehybrid"
    JAMBA = "jamba"
    COMPOSED = "lazarus_decoder"
    LLAMA = "llama"
    LLAMA4 = "llama4_text"
    MAMBA = "mamba"
    MISTRAL = "mistral"
    MIXTRAL = "mixtral"
    OLMOE = "olmoe"
    QWEN2 = "qwen2"
    QWEN3 = "qwen3"
    STARCODER2 = "starcoder2"


def typed_family(model_type: str) -> ModelFamilyType | str:
    """The member of `ModelFamilyType`; the string itself for a family of another package.

    >>> typed_family("llama"), typed_family("toy")
    (<ModelFamilyType.LLAMA: 'llama'>, 'toy')
    """
    return ModelFamilyType(model_type) if model_type in list(ModelFamilyType) else model_type


NESTED = {"gemma3": "gemma3_text", "llama4": "llama4_text"}
"""Models of text and images, and the family of the text model in their `text_config`."""


def family_of(model_type: str, source: str = "config") -> Family:
    """The family of a `model_type`.

    Args:
        model_type: A value of `ModelFamilyType`, or the name of an entry point of another package (see `families.plugins`).
        source: Start of the message.

    Raises:
        UnsupportedModel: The family is not supported, or the package that provides it cannot be used.
    """
    if model_type in list(ModelFamilyType):
        return import_module(f"{__name__}.{model_type}").FAMILY
    if outside := outside_family(model_type):
        return outside
    known = ", ".join((*ModelFamilyType, *(name for name in GROUP.names() if name not in list(ModelFamilyType))))
    raise UnsupportedModel(
        f"{source}: `model_type` {model_type!r} is not supported; supported are {known}",
        "LM-E110",
    )


def canonical(raw: dict[str, Any], source: str) -> ModelConfig:
    """The canonical form of a `config.json`.

    Args:
        raw: Its content.
        source: Start of the message.

    Raises:
        ConfigError: A key is missing, of the wrong type, or contradicts another.
        UnsupportedModel: The family or a setting is not supported.
    """
    model_type = raw.get("model_type")
    if not isinstance(model_type, str):
        raise ConfigError(f"{source}: no `model_type`; it names the architecture, such as 'llama'", "LM-E102")
    if model_type in NESTED and isinstance(raw.get("text_config"), dict):
        raw = _text_model(raw, NESTED[model_type])
        model_type = NESTED[model_type]
    _refuse_foreign_quantization(raw, source)
    family = family_of(model_type, source)
    layers = raw.get("num_hidden_layers")
    if isinstance(layers, int) and layers > MAX_LAYERS:  # families make lists of that length
        raise ConfigError(f"{source}: `num_hidden_layers` is {layers:,}; at most {MAX_LAYERS:,} are built", "LM-E109")
    try:
        with config_errors(model_type):
            return family.config.from_huggingface(raw)
    except ValidationError as error:
        known = all(item["type"] == "literal_error" and item["loc"][0] in _PINNED for item in error.errors())
        if known:
            raise UnsupportedModel(
                f"{source}: family `{model_type}` does not support {in_words(error)}", "LM-E112"
            ) from error
        raise ConfigError(f"{source}: {in_words(error)}", "LM-E103") from error


def read_config(path: Path | str, read: Callable[[Path], dict[str, Any]] = read_json) -> ModelConfig:
    """Reads a `config.json`.

    Args:
        path: The file or its directory.
        read: Function that reads the file.

    Raises:
        ConfigError: There is no such file, or it is not the config of a model; see `canonical`.
    """
    path = Path(path)
    file = path / "config.json" if path.is_dir() else path
    if not file.exists() and (path / "adapter_config.json").exists():
        raise ConfigError(
            f"{path}: this is an adapter, not a model; load it as an adapter of its base model", "LM-E100"
        )
    raw = read(file)
    if "model_type" not in raw and (path / "final" / "config.json").is_file():
        raise ConfigError(f"{path} is the folder of a run, not a model: give {path / 'final'}", "LM-E102")
    return canonical(raw, str(file))


_PINNED = {  # keys of which a family supports one value; another value changes outputs but not tensors
    "hidden_act",
    "hidden_activation",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "use_bidirectional_attention",
    "attention_bias",
}


def _text_model(raw: dict[str, Any], model_type: str) -> dict[str, Any]:
    outer = {
        key: raw[key] for key in ("eos_token_id", "bos_token_id", "pad_token_id", "dtype", "torch_dtype") if key in raw
    }
    quantization = {key: raw[key] for key in ("quantization", "quantization_config") if key in raw}
    return {**outer, **cast("dict[str, Any]", raw["text_config"]), **quantization, "model_type": model_type}


def _refuse_foreign_quantization(raw: dict[str, Any], source: str) -> None:
    said: Any = raw.get("quantization_config")
    if isinstance(said, dict) and "quantization" not in raw and "bits" not in said:
        method: Any = cast("dict[str, Any]", said).get("quant_method", "unknown")
        if method == "mxfp4":
            return
        raise UnsupportedModel(
            f"{source}: weights quantized by {method!r} are not supported; use the unquantized or an MLX checkpoint",
            "LM-E111",
        )
