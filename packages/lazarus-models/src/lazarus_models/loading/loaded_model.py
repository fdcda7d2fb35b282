"""A model in memory with its tokenizer, config and origin."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lazarus_models.components.decoder import Decoder
from lazarus_models.config.huggingface import ModelConfig
from lazarus_models.trees import parameter_count
from lazarus_tokenkit import Tokenizer


def name_of(path: Path) -> str:
    """The name of a directory or file, also of `.` and `..`.

    >>> name_of(Path("runs/final"))
    'final'
    >>> name_of(Path()) == Path.cwd().name
    True
    """
    return path.name if path.name not in ("", "..") else path.resolve().name


@dataclass(frozen=True, repr=False)
class LoadedModel:
    """A model with its tokenizer, config and origin."""

    model: Decoder
    """Callable: ids (B, T) -> logits (B, T, V)."""
    tokenizer: Tokenizer
    config: ModelConfig
    family: str
    """The `model_type`, such as `llama`."""
    path: Path | None = None
    """The directory that it was loaded from; None for a new model."""
    revision: str | None = None
    """The commit of the repository that it was loaded from; None for a local directory."""
    generation_config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Content of `generation_config.json`; empty if there is none."""
    digests: Mapping[str, str] = field(default_factory=dict[str, str])
    """SHA-256 of config, weights, index and generation config by file name; empty unless `load(..., hashed=True)`."""

    @property
    def name(self) -> str:
        """The name of the directory or file that it was loaded from; `new` for a new model."""
        return "new" if self.path is None else name_of(self.path)

    @property
    def summary(self) -> str:
        """Family, size and name as one line of text."""
        name = self.name if self.path is None or self.revision is None else self.revision[:8]
        return f"{self.family}, {parameter_count(self.model):,} parameters, {name[:40]}"

    def __repr__(self) -> str:
        return f"LoadedModel({self.summary})"

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The end-of-text ids of the tokenizer, the config and the generation config, ascending."""
        said = self.generation_config.get("eos_token_id") or ()
        ends = {*self.config.eos_token_ids, *((said,) if isinstance(said, int) else said)}
        if self.tokenizer.eos_id is not None:
            ends.add(self.tokenizer.eos_id)
        return tuple(sorted(ends))
