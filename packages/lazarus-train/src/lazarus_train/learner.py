"""What learns: the model, its adapters if any, the optimizer, the mean of the weights; fresh, restored, or written out."""

import contextlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lazarus_models import (
    LoadedModel,
    LoraConfig,
    apply_lora,
    load,
    load_adapter,
    load_tensors,
    merge_adapter,
    save,
    save_adapter,
    save_tensors,
    set_weights,
)
from lazarus_models.backend import mx
from lazarus_models.parameters import evaluate, flatten
from lazarus_train.checkpoint import OPTIMIZER
from lazarus_train.config import LoraSettings, TrainConfig
from lazarus_train.devices import device_policy
from lazarus_train.ema import Ema
from lazarus_train.errors import SetupError
from lazarus_train.freeze import freeze_matching
from lazarus_train.lean import make_lean
from lazarus_train.neftune import make_noisy
from lazarus_train.optim import Optimizer
from lazarus_train.precision import cast_weights
from lazarus_train.ranks import ALONE, Ranks
from lazarus_train.recompute import recompute_blocks
from lazarus_train.seal import seal
from lazarus_train.sequence import Head, load_with_head, save_with_head

CHAT_TEMPLATE = "chat_template.jinja"
"""Where transformers, mlx-lm and lazarus-tokenkit look first."""
ADAPTERS = "adapters"
"""Folder in `final/` that holds the adapters, beside the merged model."""
MEAN = "ema"
"""Folder in `final/` that holds the averaged model; with LoRA, its adapters."""
MEAN_FILE, SCORE_FILE = "ema.safetensors", "score.safetensors"


@dataclass(frozen=True)
class Learner:
    """A model in training.

    Args:
        lm: The model, with adapters where there are any.
        optimizer: Moves its trainable parameters.
        lora: What the adapters were made with; None trains all weights.
        head: What scores stand for, where they are in the place of the language model's head.
        ema: Mean of the weights, where one is kept.
    """

    lm: LoadedModel
    optimizer: Optimizer
    lora: LoraConfig | None
    head: Head | None
    ema: Ema | None

    @classmethod
    def fresh(cls, config: TrainConfig, head: Head | None, ranks: Ranks = ALONE) -> "Learner":
        """The model a run starts from.

        Raises:
            SetupError: Its weights are quantized, and not adapted.
        """
        lm = _load(config.model, head, config)
        lora = _lora_config(config.lora)
        if lora is None and lm.config.quantization is not None:
            raise SetupError(
                f"{config.model} is quantized: its matrices cannot learn. Give --use-lora to train adapters on them, or the "
                "model before it was quantized",
                "LR-E116",
            )
        if lora is not None:
            apply_lora(lm.model, lora, seed=config.seed)
        return cls._ready(lm, lora, head, config, ranks)

    @classmethod
    def restored(cls, config: TrainConfig, head: Head | None, checkpoint: Path, ranks: Ranks = ALONE) -> "Learner":
        """The model, moments and mean that a verified checkpoint holds."""
        lora = _lora_config(config.lora)
        lm = _load(checkpoint if lora is None else config.model, head, config)
        if lora is not None:
            load_adapter(lm.model, checkpoint)
        if lora is not None and head is not None:
            set_weights(lm.model, load_tensors(checkpoint / SCORE_FILE))
        learner = cls._ready(lm, lora, head, config, ranks)
        learner.optimizer.load_state(load_tensors(checkpoint / OPTIMIZER))
        if learner.ema is not None:
            learner.ema.load_state(load_tensors(checkpoint / MEAN_FILE))
        return learner

    @classmethod
    def _ready(
        cls, lm: LoadedModel, lora: LoraConfig | None, head: Head | None, config: TrainConfig, ranks: Ranks
    ) -> "Learner":
        if lora is not None and head is not None:
            cast("Any", lm.model).score.unfreeze()
        if config.neftune_alpha is not None:
            make_noisy(lm.model)
        if config.freeze:
            freeze_matching(lm.model, config.freeze)
        if config.recomputes:
            recompute_blocks(lm.model)
        if device_policy().is_lean and not config.mixed_precision:  # NumPy has no bfloat16
            make_lean(lm.model, drops=lora is not None and lora.dropout > 0)
        lm.model.train()
        ema = None if config.ema is None else Ema(config.ema, lm.model)
        optimizer = Optimizer(config.optimizer, lm.model, ranks if config.shards_optimizer else ALONE)
        return cls(lm, optimizer, lora, head, ema)

    def write(self, folder: Path, moments: Mapping[str, mx.array]) -> None:
        """Everything `restored` needs: all weights, or the adapters; the moments; the mean.

        Args:
            folder: For the files.
            moments: `optimizer.state()`, which all processes of a run ask for together.
        """
        if self.lora is None:
            self._save(self.lm, folder)
        else:
            save_adapter(self.lm.model, self.lora, folder)
            if self.head is not None:
                save_tensors(self._score(), folder / SCORE_FILE)
        save_tensors(moments, folder / OPTIMIZER)
        if self.ema is not None:
            save_tensors(self.ema.state(), folder / MEAN_FILE)

    def finish(self, folder: Path, template: str | None) -> None:
        """Writes the trained model, sealed; adapters are kept apart and merged. Nothing can be learnt afterwards.

        Args:
            folder: For the model.
            template: Chat template that it was trained with, where that is not the tokenizer's own: whoever asks the
                model must ask it in the words it knows.
        """

        def write(beside: Path) -> None:
            if self.ema is not None:
                with self.averaged():
                    self._save_trained(beside / MEAN)
            lm = self.lm
            if self.lora is not None:
                save_adapter(self.lm.model, self.lora, beside / ADAPTERS)
                lm = merge_adapter(self.lm)
            self._save(lm, beside)
            if template is not None:
                (beside / CHAT_TEMPLATE).write_text(template, encoding="utf-8", newline="\n")

        seal(folder, write)

    @contextlib.contextmanager
    def averaged(self) -> Generator[None]:
        """The mean of the weights in the model's place for a while."""
        assert self.ema is not None, "asked for only where a mean is kept"
        trained = flatten(self.lm.model.trainable_parameters())
        set_weights(self.lm.model, self.ema.state())
        try:
            yield
        finally:
            set_weights(self.lm.model, trained)

    def first_not_finite(self) -> str | None:
        """Name of a trainable parameter that holds NaN or infinity, if any does."""
        parameters = flatten(self.lm.model.trainable_parameters())
        finite = {name: mx.isfinite(parameter).all() for name, parameter in parameters.items()}
        evaluate(finite)
        return next((name for name, is_finite in finite.items() if not is_finite.item()), None)

    def _save_trained(self, folder: Path) -> None:
        if self.lora is None:
            self._save(self.lm, folder)
        else:
            save_adapter(self.lm.model, self.lora, folder)

    def _save(self, lm: LoadedModel, folder: Path) -> None:
        if self.head is None:
            save(lm, folder)
        else:
            save_with_head(lm, self.head, folder)

    def _score(self) -> dict[str, mx.array]:
        return {"score.weight": cast("Any", self.lm.model).score.weight}


def weight_bytes(model: Path) -> int:
    """Bytes of the weight files of a model directory."""
    return sum(file.stat().st_size for file in model.glob("*.safetensors"))


def _load(directory: Path, head: Head | None, config: TrainConfig) -> LoadedModel:
    """A model in the precision that it learns in; under adapters it stays as it is stored."""
    lm = load(directory) if head is None else load_with_head(directory, head, seed=config.seed)
    if config.mixed_precision and config.lora is None:
        cast_weights(lm.model, mx.float32)
        evaluate(lm.model.parameters())  # before threads compute with them
    return lm


def _lora_config(settings: LoraSettings | None) -> LoraConfig | None:
    if settings is None:
        return None
    return LoraConfig(
        kind=settings.kind,
        rank=settings.rank,
        alpha=settings.alpha,
        dropout=settings.dropout,
        targets=settings.targets,
    )
