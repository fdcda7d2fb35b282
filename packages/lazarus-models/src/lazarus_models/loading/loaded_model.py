"""A model in memory with its tokenizer, configuration and origin."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lazarus_models.components.decoder import Decoder
from lazarus_models.config.huggingface import ModelConfig
from lazarus_tokenkit import Tokenizer


@dataclass(frozen=True)
class LoadedModel:
    """A model with what belongs to it."""

    model: Decoder
    """Callable: ids (B, T) -> logits (B, T, V)."""
    tokenizer: Tokenizer
    config: ModelConfig
    family: str
    """The `model_type`, such as `llama`."""
    path: Path | None = None
    """Where it was loaded from; None for a new model."""
    revision: str | None = None
    """The commit of the repository that it was loaded from; None for a directory of your own."""
    generation_config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """`generation_config.json` as it was read; empty where there is none."""
    digests: Mapping[str, str] = field(default_factory=dict[str, str])
    """SHA-256 of the bytes of config, weights, index and generation config that it was made of, by the file's name; empty
    unless `load` was asked for them."""

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Every id that the tokenizer, the config or the generation config calls an end, ascending."""
        said = self.generation_config.get("eos_token_id") or ()
        ends = {*self.config.eos_token_ids, *((said,) if isinstance(said, int) else said)}
        if self.tokenizer.eos_id is not None:
            ends.add(self.tokenizer.eos_id)
        return tuple(sorted(ends))
