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
from lazarus_models.backend import mx
from lazarus_models.parameters import evaluate, flatten
from lazarus_train.checkpoint import OPTIMIZER
from lazarus_train.config import LoraSettings, SftConfig
from lazarus_train.optim import Optimizer
from lazarus_train.seal import file_digest, seal

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
        """Writes the trained model, sealed; adapters are kept apart and merged. Nothing can be learnt afterwards.

        Args:
            folder: For the model.
            template: Chat template that it was trained with, where that is not the tokenizer's own: whoever asks the
                model must ask it in the words it knows.
        """

        def write(beside: Path) -> None:
            if self.lora is not None:
                save_adapter(self.lm.model, self.lora, beside / ADAPTERS)
                merge_lora(self.lm.model)
            save(self.lm, beside)
            if template is not None:
                (beside / CHAT_TEMPLATE).write_text(template, encoding="utf-8", newline="\n")

        seal(folder, write)

    def first_not_finite(self) -> str | None:
        """Name of a trainable parameter that holds NaN or infinity, if any does."""
        parameters = flatten(self.lm.model.trainable_parameters())
        finite = {name: mx.isfinite(parameter).all() for name, parameter in parameters.items()}
        evaluate(finite)
        return next((name for name, is_finite in finite.items() if not is_finite.item()), None)


def model_digest(model: Path) -> str:
    """SHA-256 over what decides a model's outputs: `config.json` and the weight files, in the order of their names."""
    digest = hashlib.sha256()
    for file in sorted([*model.glob("*.safetensors"), *model.glob("config.json")]):
        digest.update(f"{file.name} {file_digest(file)}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def _lora_config(settings: LoraSettings | None) -> LoraConfig | None:
    if settings is None:
        return None
    return LoraConfig(rank=settings.rank, alpha=settings.alpha, dropout=settings.dropout)
