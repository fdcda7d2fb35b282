"""The families this version knows, each a file named by its `model_type`."""

from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lazarus_models.config import ModelConfig, in_words, read_json
from lazarus_models.errors import ConfigError, UnsupportedModel
from lazarus_models.families.family import Family as Family

SUPPORTED = ("llama",)


def family_of(model_type: str, source: str = "config") -> Family:
    """The family of a `model_type`; `source` names in errors where it stands.

    Raises:
        UnsupportedModel: Not one of `SUPPORTED`.
    """
    if model_type not in SUPPORTED:
        raise UnsupportedModel(
            f"{source}: `model_type` {model_type!r} is not supported; this version knows {', '.join(SUPPORTED)}",
            "LM-E110",
        )
    return import_module(f"{__name__}.{model_type}").FAMILY


def canonical(raw: dict[str, Any], source: str) -> ModelConfig:
    """The canonical form of a `config.json`'s content; `source` names it in errors."""
    model_type = raw.get("model_type")
    if not isinstance(model_type, str):
        raise ConfigError(f"{source}: no `model_type`; it names the architecture, such as 'llama'", "LM-E102")
    if "quantization" in raw or "quantization_config" in raw:
        raise UnsupportedModel(f"{source}: quantized weights are not read; give the unquantized model", "LM-E111")
    defaults = family_of(model_type, source).defaults
    try:
        return ModelConfig.from_huggingface(raw, defaults)
    except ValidationError as error:
        raise ConfigError(f"{source}: {in_words(error)}", "LM-E103") from error


def read_config(path: Path) -> ModelConfig:
    """Reads `config.json`, given itself or its directory."""
    file = path / "config.json" if path.is_dir() else path
    return canonical(read_json(file), str(file))
