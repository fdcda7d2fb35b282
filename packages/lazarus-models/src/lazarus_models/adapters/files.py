"""Adapter directories in the layouts of mlx-lm and PEFT, and several adapters of one model.

mlx-lm stores A as (inputs, rank) and B as (rank, outputs) with the factor `scale`; PEFT stores both transposed, with
alpha = scale * rank. `mlx_lm.generate --adapter-path` and `mlx_lm.fuse` work on what `save_adapter` writes.

In both layouts, the header of the tensor file has the digest of the base model (`base_digest`). An adapter with another base
gives plausible nonsense, so it is refused. Adapters of other tools have no digest and are loaded without this check.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from lazarus_core.atomic import filled_folder
from lazarus_core.reasons import absent_or
from lazarus_models.adapters.base_digest import base_digest
from lazarus_models.adapters.config import LoraConfig
from lazarus_models.adapters.lora import (
    adapt,
    adapted_layers,
    adapter_weights,
    lora_layers,
    merge_lora,
    target_layers,
)
from lazarus_models.adapters.peft_config import PeftConfig
from lazarus_models.backend import mx, nn
from lazarus_models.config.huggingface import in_words
from lazarus_models.errors import AdapterError
from lazarus_models.loading.files import Files, PlainFiles
from lazarus_models.loading.finite import refuse_infinite
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.tensor_files import read_metadata, save_tensors
from lazarus_models.trees import layer_count, modules, replace_modules, set_weights

_PEFT = {".lora_a": ".lora_A.weight", ".lora_b": ".lora_B.weight", ".m": ".lora_magnitude_vector"}
_PEFT_START = "base_model.model."
_MLX_LM_FILE, _PEFT_FILE = "adapters.safetensors", "adapter_model.safetensors"
_BASE = "lazarus_base"
"""Key of the base model's digest in the header of the tensor file."""


def save_adapter(
    model: nn.Module,
    config: LoraConfig,
    directory: Path | str,
    *,
    layout: Literal["mlx-lm", "peft", "both"] = "mlx-lm",
) -> None:
    """Writes an adapter directory.

    Args:
        model: A model with LoRA layers.
        config: The config with which they were made.
        directory: The directory; existing files are replaced, `adapter_config.json` last.
        layout: `mlx-lm`, which mlx-lm opens too, or `peft`, which PEFT opens. `both` writes the files of both into one
            directory, and only mlx-lm's if experts are adapted. `load_adapter` opens each of them.

    Raises:
        AdapterError: PEFT's layout cannot express adapters of experts.
    """
    tensors = adapter_weights(model)
    has_experts = any(tensor.ndim == 3 for tensor in tensors.values())
    said: dict[str, Any] = {}
    files: dict[str, Mapping[str, mx.array]] = {}
    if layout == "peft" or (layout == "both" and not has_experts):
        said |= _peft_config(model, config)
        files[_PEFT_FILE] = _to_peft(tensors)
    if layout != "peft":
        said |= _mlx_lm_config(model, config)
        files[_MLX_LM_FILE] = tensors
    with filled_folder(Path(directory), last=("adapter_config.json",)) as folder:
        for name, content in files.items():
            save_tensors(content, folder / name, {"format": "pt", _BASE: base_digest(model)})
        text = json.dumps(said, indent=2, sort_keys=True) + "\n"
        (folder / "adapter_config.json").write_text(text, encoding="utf-8", newline="\n")


def merge_adapter(lm: LoadedModel) -> LoadedModel:
    """Merges the adapter of a model (`merge_lora`), and lists the layers that are no longer quantized in its config.

    Args:
        lm: The model; its layers are changed in place.

    Returns:
        The model with the new config, ready for `save`.

    Raises:
        AdapterError: The model has no LoRA layers.
    """
    adapted = merge_lora(lm.model)
    if lm.config.quantization is None:
        return lm
    as_they_are = lm.config.quantization.layers | dict.fromkeys(adapted, False)
    quantization = lm.config.quantization.model_copy(update={"layers": as_they_are})
    return replace(lm, config=lm.config.model_copy(update={"quantization": quantization}))


def load_adapter(
    model: nn.Module,
    directory: Path | str,
    files: Files = PlainFiles(),  # noqa: B008 (frozen)
    *,
    any_base: bool = False,
) -> LoraConfig:
    """Adds a stored adapter to the model that it was trained on. Its dropout is off until `model.train()`.

    Args:
        model: The base model, changed in place.
        directory: The adapter, in mlx-lm's or PEFT's layout.
        files: Reads the files; `HashedFiles` hashes them too.
        any_base: Accept an adapter that was trained on other weights.

    Returns:
        Rank, scale and targets of the adapted layers. If ranks differ, all layers get the largest one, filled with zeros.

    Raises:
        AdapterError: The directory is not a LoRA adapter, has unsupported settings, or does not fit the model.
    """
    directory = Path(directory)
    config, tensors = _read(model, directory, files, any_base=any_base)
    refuse_infinite(tensors, directory)
    adapt(model, sorted({name.rpartition(".")[0] for name in tensors}), config)
    _refuse_misfit(directory, tensors, adapter_weights(model))
    set_weights(model, tensors)
    model.eval()  # dropout is for training, which switches it on
    return config


class AdapterSet:
    """Several adapters of one model, at most one of which is active."""

    def __init__(self, model: nn.Module) -> None:
        if lora_layers(model):
            raise AdapterError("the model has LoRA layers already; `merge_lora` first", "LM-E131")
        self._model = model
        self._plain: dict[str, nn.Module] = {}
        self._adapters: dict[str, dict[str, nn.Module]] = {}
        self.active: str | None = None
        """Name of the active adapter; None for the base model."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all adapters, in the order of `add`."""
        return tuple(self._adapters)

    def add(self, name: str, directory: Path | str, *, any_base: bool = False) -> None:
        """Reads an adapter for later use; adapters share the weights of the base model.

        Args:
            name: Name for `use`.
            directory: The adapter, in mlx-lm's or PEFT's layout.
            any_base: Accept an adapter that was trained on other weights.
        """
        self.use(None)
        config, tensors = _read(self._model, Path(directory), PlainFiles(), any_base=any_base)
        refuse_infinite(tensors, directory)
        layers = adapted_layers(self._model, sorted({name.rpartition(".")[0] for name in tensors}), config)
        self._plain |= {path: layer for path, layer in modules(self._model).items() if path in layers}
        self._adapters[name] = layers
        self.use(name)
        _refuse_misfit(Path(directory), tensors, adapter_weights(self._model))
        set_weights(self._model, tensors)
        self._model.eval()
        self.use(None)

    def use(self, name: str | None) -> None:
        """Activates an adapter, or with None the base model.

        Raises:
            AdapterError: No adapter has that name.
        """
        if name is not None and name not in self._adapters:
            raise AdapterError(f"no adapter {name!r}; there are {', '.join(self._adapters) or 'none'}", "LM-E135")
        if self.active is not None:
            replace_modules(self._model, {path: self._plain[path] for path in self._adapters[self.active]})
        if name is not None:
            replace_modules(self._model, self._adapters[name])
        self.active = name


def _read(model: nn.Module, directory: Path, files: Files, *, any_base: bool) -> tuple[LoraConfig, dict[str, mx.array]]:
    file = directory / "adapter_config.json"
    if not file.exists():
        raise AdapterError(
            f"{absent_or(directory, 'is not an adapter')}: give a directory with adapter_config.json", "LM-E132"
        )
    said = files.json(file)
    is_peft = "peft_type" in said and "fine_tune_type" not in said  # with both, the files say the same
    stored = directory / (_PEFT_FILE if is_peft else _MLX_LM_FILE)
    if is_peft:
        peft = PeftConfig.read(file, said)
        tensors = _from_peft(files.tensors(stored))
        _refuse_ranks(stored, tensors, peft)
        rank, scale, tensors = peft.evened(tensors)
        settings, kind = {"rank": rank, "scale": scale, "dropout": peft.dropout}, peft.kind
    else:
        tensors = dict(files.tensors(stored))
        settings, kind = said.get("lora_parameters"), said.get("fine_tune_type", "lora")
    if kind not in ("lora", "dora"):
        raise AdapterError(f"{file}: adapters of kind {kind!r} are not supported, only 'lora' and 'dora'", "LM-E132")
    layers = sorted({name.rpartition(".")[0] for name in tensors})
    known = set(target_layers(model, ("*",)))
    if unknown := [name for name in layers if name not in known]:
        raise AdapterError(
            f"{directory}: the adapter changes `{unknown[0]}`, which is not a linear layer of this model", "LM-E133"
        )
    if not any_base:
        _refuse_other_base(model, stored)
    return _stored_config(file, kind, settings, layers), tensors


def _refuse_ranks(file: Path, tensors: Mapping[str, mx.array], peft: PeftConfig) -> None:
    """Refuses a tensor whose rank is not the one in the config."""
    for name, tensor in tensors.items():
        layer, _, leaf = name.rpartition(".")
        if leaf != "m" and tensor.shape[1 if leaf == "lora_a" else 0] != peft.rank_of(layer):
            raise AdapterError(
                f"{file}: `{name}` is {tensor.shape}, the config gives the layer rank {peft.rank_of(layer)}", "LM-E134"
            )


def _refuse_other_base(model: nn.Module, file: Path) -> None:
    trained_on = read_metadata(file).get(_BASE)
    if trained_on is not None and trained_on != (found := base_digest(model)):
        raise AdapterError(
            f"{file}: the adapter was trained on another base model (digest {trained_on[:12]}, this one has {found[:12]});"
            " load it on its own base, or set `any_base`",
            "LM-E139",
        )


def _stored_config(file: Path, kind: Any, said: Any, layers: list[str]) -> LoraConfig:
    try:
        targets = tuple(sorted({name.rpartition(".")[2] for name in layers}))
        alpha = said["scale"] * said["rank"]
        return LoraConfig(kind=kind, rank=said["rank"], alpha=alpha, dropout=said.get("dropout", 0.0), targets=targets)
    except (KeyError, TypeError) as error:
        raise AdapterError(f"{file}: needs a rank and a scale or alpha, but has {said!r}", "LM-E132") from error
    except ValidationError as error:
        raise AdapterError(f"{file}: {in_words(error)}", "LM-E132") from error


def _refuse_misfit(directory: Path, tensors: Mapping[str, mx.array], own: Mapping[str, mx.array]) -> None:
    for name in sorted(own.keys() | tensors.keys()):
        found = tensors[name].shape if name in tensors else None
        needed = own[name].shape if name in own else None
        if found != needed:
            raise AdapterError(f"{directory}: `{name}` is {found}, but the model needs {needed}", "LM-E134")


def _mlx_lm_config(model: nn.Module, config: LoraConfig) -> dict[str, Any]:
    inside = sorted(
        {name.split(".", 3)[3] if name.split(".")[1:2] == ["layers"] else name for name in lora_layers(model)}
    )
    return {
        "fine_tune_type": config.kind,
        "num_layers": layer_count(model),
        "lora_parameters": {"rank": config.rank, "scale": config.scale, "dropout": config.dropout, "keys": inside},
    }


def _peft_config(model: nn.Module, config: LoraConfig) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "use_dora": config.kind == "dora",
        "target_modules": sorted({name.rpartition(".")[2] for name in lora_layers(model)}),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }


def _to_peft(tensors: Mapping[str, mx.array]) -> dict[str, mx.array]:
    out: dict[str, mx.array] = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 3:
            raise AdapterError(
                f"`{name}` adapts a stack of experts, which PEFT's layout cannot express; use the layout `mlx-lm`",
                "LM-E136",
            )
        layer, _, leaf = name.rpartition(".")
        out[f"{_PEFT_START}{layer}{_PEFT['.' + leaf]}"] = tensor.T if tensor.ndim == 2 else tensor
    return out


def _from_peft(tensors: Mapping[str, mx.array]) -> dict[str, mx.array]:
    out: dict[str, mx.array] = {}
    for name, tensor in tensors.items():
        ours = name.removeprefix(_PEFT_START)
        for own, theirs in _PEFT.items():
            if ours.endswith((theirs, f"{theirs}.weight")):
                out[ours.removesuffix(".weight").removesuffix(theirs.removesuffix(".weight")) + own] = (
                    tensor.T if tensor.ndim == 2 else tensor
                )
                break
        else:
            raise AdapterError(f"`{name}` is not a tensor of a LoRA adapter", "LM-E134")
    return out
