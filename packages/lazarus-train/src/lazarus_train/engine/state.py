"""Training state: model, optional adapters, optimizer and EMA. It is created, restored from a checkpoint, or saved."""

import contextlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from lazarus_core.errors import LazarusError
from lazarus_models import LoadedModel, LoraConfig, apply_lora, load, load_adapter, save, save_adapter
from lazarus_models.adapters import merge_adapter
from lazarus_models.backend import mx
from lazarus_models.loading import HashedFiles, load_hashed
from lazarus_models.tensor_files import save_tensors
from lazarus_models.trees import evaluate, flatten, set_weights
from lazarus_tokenkit import Tokenizer
from lazarus_train.config import TrainConfig
from lazarus_train.devices import device_policy
from lazarus_train.distributed import SINGLE, ProcessGroup
from lazarus_train.engine import value_head
from lazarus_train.engine.ema import Ema
from lazarus_train.engine.freeze import freeze_matching
from lazarus_train.engine.optim import Optimizer
from lazarus_train.engine.precision import cast_weights
from lazarus_train.errors import SetupError
from lazarus_train.layers.wrap import Wrapping, wrap_layers
from lazarus_train.objectives.sequence_head import SequenceHead, load_with_head, save_with_head
from lazarus_train.run_dir.base_digest import Base
from lazarus_train.run_dir.checkpoint import MEAN_FILE, OPTIMIZER, SCORE_FILE, VALUE_FILE, State, damaged
from lazarus_train.run_dir.sealed_read import BrokenSeal, Sealed
from lazarus_train.run_dir.sealed_write import seal

CHAT_TEMPLATE = "chat_template.jinja"
"""File name that transformers, mlx-lm and lazarus-tokenkit read first."""
ADAPTERS = "adapters"
"""Folder of the adapters in `final/`. The merged model is in `final/` itself."""
MEAN = "ema"
"""Folder of the averaged model (EMA) in `final/`; with LoRA, of its adapters."""


@dataclass(frozen=True)
class TrainState:
    """Model, optional adapters, optimizer and EMA of a run.

    Args:
        lm: The model, with its adapters if any.
        optimizer: Updates the trainable parameters.
        lora: Settings of the adapters; None trains all weights.
        head: The scores that replace the language-model head; None keeps that head.
        ema: Moving average of the weights; None disables it.
    """

    lm: LoadedModel
    optimizer: Optimizer
    lora: LoraConfig | None
    head: SequenceHead | None
    ema: Ema | None

    @classmethod
    def fresh(
        cls,
        config: TrainConfig,
        head: SequenceHead | None,
        processes: ProcessGroup = SINGLE,
        tokenizer: Tokenizer | None = None,
    ) -> "TrainState":
        """The initial state of a run.

        Args:
            config: Settings of the run, with the model's path.
            head: The scores that the model predicts; None keeps its language-model head.
            processes: The processes of the run.
            tokenizer: The tokenizer that encoded the rows. It replaces the model's own.

        Raises:
            SetupError: The weights are quantized and there are no adapters.
        """
        lm = _load(config.model, head, config, tokenizer)
        lora = config.lora
        if lora is None and lm.config.quantization is not None:
            raise SetupError(
                f"{config.model} is quantized, and quantized weights cannot be trained. Set `lora` to train adapters, or give "
                "the model before it was quantized",
                "LR-E116",
            )
        if lora is not None:
            apply_lora(lm.model, lora, seed=config.seed)
        if config.objective.needs_value:
            value_head.attach(lm.model)
        return cls._ready(lm, lora, head, config, processes)

    @classmethod
    def restored(
        cls,
        config: TrainConfig,
        head: SequenceHead | None,
        checkpoint: State,
        tokenizer: Tokenizer,
        processes: ProcessGroup = SINGLE,
    ) -> "TrainState":
        """The state that a checkpoint contains. Loaded files are hashed and compared with the manifest.

        Args:
            config: Settings of the run.
            head: The scores that the model predicts; None keeps its language-model head.
            checkpoint: The verified checkpoint.
            tokenizer: The tokenizer that encoded the rows.
            processes: The processes of the run.

        Raises:
            CorruptCheckpoint: A file changed since it was verified.
            ForeignCheckpoint: The base model of the adapters is not the initial model of the run.
        """
        with _naming_damage(checkpoint.sealed):
            lm, lora, mean = _trained(config, head, checkpoint, tokenizer)
            moments = _tensors(checkpoint, OPTIMIZER)
            if config.objective.needs_value:
                value_head.attach(lm.model, _tensors(checkpoint, VALUE_FILE))
        state = cls._ready(lm, lora, head, config, processes)
        state.optimizer.load_state(moments)
        if state.ema is not None:
            state.ema.load_state(mean)
        return state

    @classmethod
    def _ready(
        cls,
        lm: LoadedModel,
        lora: LoraConfig | None,
        head: SequenceHead | None,
        config: TrainConfig,
        processes: ProcessGroup,
    ) -> "TrainState":
        _make_trainable(lm, lora, head, config)
        wrapping = Wrapping(
            low_memory=device_policy().is_lean and not config.mixed_precision,  # NumPy has no bfloat16
            gradient_checkpointing=config.recomputes,
            noise=config.neftune_alpha is not None,
            drops=lora is not None and lora.dropout > 0,
        )
        wrap_layers(lm.model, wrapping)
        lm.model.train()
        ema = None if config.ema is None else Ema(config.ema, lm.model)
        optimizer = Optimizer(config.optimizer, lm.model, processes if config.shards_optimizer else SINGLE)
        return cls(lm, optimizer, lora, head, ema)

    def write(self, folder: Path, moments: Mapping[str, mx.array]) -> None:
        """Writes everything that `restored` needs: all weights or the adapters, the moments and the EMA.

        Args:
            folder: Folder for the files.
            moments: Result of `optimizer.state()`, which all processes of a run must call together.
        """
        with value_head.without(self.lm.model):
            if self.lora is None:
                _save(self.lm, self.head, folder)
            else:
                save_adapter(self.lm.model, self.lora, folder)
        if self.lora is not None and self.head is not None:
            save_tensors(self._score(), folder / SCORE_FILE)
        if value_head.NAME in self.lm.model:
            save_tensors(value_head.tensors_of(self.lm.model), folder / VALUE_FILE)
        save_tensors(moments, folder / OPTIMIZER)
        if self.ema is not None:
            save_tensors(self.ema.state(), folder / MEAN_FILE)

    def finish(self, folder: Path, template: str | None) -> Sealed:
        """Writes the trained model as a sealed folder; adapters are saved merged and separately. Training cannot
        continue afterwards.

        Args:
            folder: Folder for the model.
            template: Chat template of the training data if it differs from the tokenizer's own. Inference must use
                the same template.
        """
        with value_head.without(self.lm.model):
            return write_final(folder, self.lm, self.lora, self.head, self.ema, template)

    @contextlib.contextmanager
    def averaged(self) -> Generator[None]:
        """Context manager: the EMA weights replace the model's weights."""
        assert self.ema is not None, "called only if the run has an EMA"
        with _averaged(self.lm, self.ema):
            yield

    def first_not_finite(self) -> str | None:
        """Name of a trainable parameter that contains NaN or infinity; None if all are finite."""
        parameters = flatten(self.lm.model.trainable_parameters())
        finite = {name: mx.isfinite(parameter).all() for name, parameter in parameters.items()}
        evaluate(finite)
        return next((name for name, is_finite in finite.items() if not is_finite.item()), None)

    def _score(self) -> dict[str, mx.array]:
        return {"score.weight": cast("Any", self.lm.model).score.weight}


AdapterLayout = Literal["mlx-lm", "both"]
"""Files of the adapters in `final`: those of mlx-lm, or also those of PEFT."""


def write_final(
    folder: Path,
    lm: LoadedModel,
    lora: LoraConfig | None,
    head: SequenceHead | None,
    ema: Ema | None,
    template: str | None,
    layout: AdapterLayout = "both",
) -> Sealed:
    """Writes a trained model as `TrainState.finish` does.

    Args:
        folder: Folder for the model.
        lm: The trained model.
        lora: Settings of the adapters; None if all weights were trained.
        head: The scores that the model predicts, if any.
        ema: Moving average of the weights, if any.
        template: Chat template, as for `TrainState.finish`.
        layout: Files of the adapters; runs of earlier versions have those of mlx-lm alone.
    """

    def write(beside: Path) -> None:
        if ema is not None:
            with _averaged(lm, ema):
                if lora is None:
                    _save(lm, head, beside / MEAN)
                else:
                    save_adapter(lm.model, lora, beside / MEAN, layout=layout)
        whole = lm
        if lora is not None:
            save_adapter(lm.model, lora, beside / ADAPTERS, layout=layout)
            whole = merge_adapter(lm)
        _save(whole, head, beside)
        if template is not None:
            (beside / CHAT_TEMPLATE).write_text(template, encoding="utf-8", newline="\n")

    return seal(folder, write)


def write_final_again(
    folder: Path,
    config: TrainConfig,
    head: SequenceHead | None,
    checkpoint: State,
    tokenizer: Tokenizer,
    template: str | None,
    layout: AdapterLayout = "both",
) -> Sealed:
    """Writes the trained model from a verified checkpoint. The same checkpoint gives the same files.

    Args:
        folder: Folder for the model.
        config: Settings of the run.
        head: The scores that the model predicts; None keeps its language-model head.
        checkpoint: Last checkpoint of the run.
        tokenizer: The tokenizer that encoded the rows.
        template: Chat template, as for `TrainState.finish`.
        layout: Files of the adapters, as the run wrote them.
    """
    lm, lora, mean = _trained(config, head, checkpoint, tokenizer)
    _make_trainable(lm, lora, head, config)
    ema = None if config.ema is None else Ema(config.ema, lm.model)
    if ema is not None:
        ema.load_state(mean)
    return write_final(folder, lm, lora, head, ema, template, layout)


@contextlib.contextmanager
def _averaged(lm: LoadedModel, ema: Ema) -> Generator[None]:
    trained = flatten(lm.model.trainable_parameters())
    set_weights(lm.model, ema.state())
    try:
        yield
    finally:
        set_weights(lm.model, trained)


def _trained(
    config: TrainConfig, head: SequenceHead | None, checkpoint: State, tokenizer: Tokenizer
) -> tuple[LoadedModel, LoraConfig | None, Mapping[str, mx.array]]:
    """The model with the weights of a checkpoint, its adapters if any, and its EMA if any."""
    lora, sealed = config.lora, checkpoint.sealed
    lm = _load(sealed.path if lora is None else config.model, head, config, tokenizer)
    if lora is None:
        _expect(sealed, lm.digests)
    else:
        Base.of(lm, tokenizer).check(checkpoint.base, config.model)
        with HashedFiles() as files:
            load_adapter(lm.model, sealed.path, files)
        _expect(sealed, files.digests)
        if head is not None:
            set_weights(lm.model, _tensors(checkpoint, SCORE_FILE))
    return lm, lora, {} if config.ema is None else _tensors(checkpoint, MEAN_FILE)


def _tensors(checkpoint: State, name: str) -> dict[str, mx.array]:
    """The tensors of a checkpoint's file. The file must not have changed since it was verified."""
    tensors, digest = load_hashed(checkpoint.sealed.path / name)
    _expect(checkpoint.sealed, {name: digest})
    return tensors


@contextlib.contextmanager
def _naming_damage(sealed: Sealed) -> Generator[None]:
    """If a checkpoint cannot be loaded, names the file that changed, if any."""
    try:
        yield
    except LazarusError:
        try:
            sealed.check()
        except BrokenSeal as error:
            raise damaged(sealed.path, str(error)) from error
        raise


def _expect(sealed: Sealed, digests: Mapping[str, str]) -> None:
    try:
        for name, digest in digests.items():
            sealed.expect(name, digest)
    except BrokenSeal as error:
        raise damaged(sealed.path, str(error)) from error


def _make_trainable(lm: LoadedModel, lora: LoraConfig | None, head: SequenceHead | None, config: TrainConfig) -> None:
    """Freezes the parameters that are not trained."""
    if lora is not None and head is not None:
        cast("Any", lm.model).score.unfreeze()
    if config.freeze:
        freeze_matching(lm.model, config.freeze)


def _save(lm: LoadedModel, head: SequenceHead | None, folder: Path) -> None:
    if head is None:
        save(lm, folder)
    else:
        save_with_head(lm, head, folder)


def _load(directory: Path, head: SequenceHead | None, config: TrainConfig, tokenizer: Tokenizer | None) -> LoadedModel:
    """A model in its training precision. Under adapters, the base model keeps its stored precision."""
    if head is None:
        lm = load(directory, hashed=True)
    else:
        lm = load_with_head(directory, head, seed=config.seed, hashed=True)
    if tokenizer is not None:
        lm = replace(lm, tokenizer=tokenizer)
    if config.mixed_precision and config.lora is None:
        cast_weights(lm.model, mx.float32)
        evaluate(lm.model.parameters())  # before threads compute with them
    return lm
