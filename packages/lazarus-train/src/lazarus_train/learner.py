"""What learns: the model, its adapters if any, and the optimizer; fresh, restored, or written out."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lazarus_models import (
    LoadedModel,
    LoraConfig,
    apply_lora,
    load,
    load_adapter,
    load_tensors,
    merge_lora,
    save,
    save_adapter,
    save_tensors,
)
from lazarus_models.tensors import replacing
from lazarus_train.checkpoint import OPTIMIZER
from lazarus_train.config import LoraSettings, SftConfig
from lazarus_train.optim import Optimizer

CHAT_TEMPLATE = "chat_template.jinja"
"""Where transformers, mlx-lm and lazarus-tokenkit look first."""
ADAPTERS = "adapters"
"""Folder in `final/` that holds the adapters, beside the merged model."""


@dataclass(frozen=True)
class Learner:
    """A model in training.

    Args:
        lm: The model, with adapters where there are any.
        optimizer: Moves its trainable parameters.
        lora: What the adapters were made with; None trains all weights.
    """

    lm: LoadedModel
    optimizer: Optimizer
    lora: LoraConfig | None

    @classmethod
    def fresh(cls, config: SftConfig) -> "Learner":
        """The model a run starts from."""
        lm = load(config.model)
        lora = _lora_config(config.lora)
        if lora is not None:
            apply_lora(lm.model, lora, seed=config.seed)
        return cls._ready(lm, lora, config)

    @classmethod
    def restored(cls, config: SftConfig, checkpoint: Path) -> "Learner":
        """The model and moments that a verified checkpoint holds."""
        lora = _lora_config(config.lora)
        lm = load(checkpoint if lora is None else config.model)
        if lora is not None:
            load_adapter(lm.model, checkpoint)
        learner = cls._ready(lm, lora, config)
        learner.optimizer.load_state(load_tensors(checkpoint / OPTIMIZER))
        return learner

    @classmethod
    def _ready(cls, lm: LoadedModel, lora: LoraConfig | None, config: SftConfig) -> "Learner":
        lm.model.train()
        return cls(lm, Optimizer(config.optimizer, lm.model), lora)

    def write(self, folder: Path) -> None:
        """Everything `restored` needs: all weights, or the adapters; and the moments."""
        if self.lora is None:
            save(self.lm, folder)
        else:
            save_adapter(self.lm.model, self.lora, folder)
        save_tensors(self.optimizer.state(), folder / OPTIMIZER)

    def finish(self, folder: Path, template: str | None) -> None:
        """Writes the trained model; adapters are kept apart and merged. Nothing can be learnt afterwards.

        Args:
            folder: For the model.
            template: Chat template that it was trained with, where that is not the tokenizer's own: whoever asks the
                model must ask it in the words it knows.
        """
        if self.lora is not None:
            save_adapter(self.lm.model, self.lora, folder / ADAPTERS)
            merge_lora(self.lm.model)
        save(self.lm, folder)
        if template is not None:
            with replacing(folder / CHAT_TEMPLATE) as beside:
                beside.write_text(template, encoding="utf-8", newline="\n")


def weights_digest(model: Path) -> str:
    """SHA-256 over the weight files of a model directory, in the order of their names."""
    digest = hashlib.sha256()
    for file in sorted(model.glob("*.safetensors")):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def _lora_config(settings: LoraSettings | None) -> LoraConfig | None:
    if settings is None:
        return None
    return LoraConfig(rank=settings.rank, alpha=settings.alpha, dropout=settings.dropout)
