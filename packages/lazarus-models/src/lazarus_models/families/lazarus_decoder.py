"""Composed models: `config.json` contains the whole architecture."""

from typing import Any

from lazarus_models.config.architecture import DecoderConfig
from lazarus_models.config.huggingface import ModelConfig
from lazarus_models.families.family import Family


class ComposedConfig(ModelConfig):
    """The keys of a composed model's `config.json`."""

    architecture: DecoderConfig
    """The architecture, which `lazarus_models.components.decoder` builds."""

    @classmethod
    def _complete(cls, said: dict[str, Any]) -> None:
        if isinstance(described := said.get("architecture"), dict):
            said["architecture"] = DecoderConfig.model_validate(described, strict=False)


def _architecture(config: ComposedConfig) -> DecoderConfig:
    return config.architecture.model_copy(update={"vocab_size": config.vocab_size})


FAMILY = Family(ComposedConfig, _architecture)
