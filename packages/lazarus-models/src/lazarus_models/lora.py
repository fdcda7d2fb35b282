"""LoRA (Hu et al. 2021, arXiv 2106.09685): y = W x + (alpha / rank) B A x, with W frozen and B = 0 at the start.

Layers and files are mlx-lm's: `mlx_lm.generate --adapter-path` and `mlx_lm.fuse` work on what `save_adapter` writes.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from lazarus_models.backend import mx, nn
from lazarus_models.config import in_words, read_json
from lazarus_models.errors import AdapterError
from lazarus_models.mlx_lm import import_mlx_lm
from lazarus_models.parameters import evaluate, layer_count, modules, replace_modules, set_weights, weights
from lazarus_models.tensors import load_tensors, replacing, save_tensors

_LEAVES = (".lora_a", ".lora_b")


class LoraConfig(BaseModel):
    """Which layers are adapted, and how strongly."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rank: PositiveInt = 8
    """Width of the bottleneck; parameters grow with it."""
    alpha: PositiveFloat = 16.0
    """Strength: the update is scaled by alpha / rank (mlx-lm's `scale`)."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of inputs to A that training drops."""
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """Last names of the linear layers to adapt; all of a block's by default (QLoRA, arXiv 2305.14314)."""

    @property
    def scale(self) -> float:
        """What multiplies B A x."""
        return self.alpha / self.rank


def apply_lora(model: nn.Module, config: LoraConfig, *, seed: int) -> None:
    """Freezes the model and adds LoRA to its target layers; the logits stay exactly what they were.

    Args:
        model: Changed in place.
        config: Rank, strength and targets.
        seed: Of A, uniform in +-1/sqrt(inputs) as in mlx-lm; B is zero.

    Raises:
        AdapterError: A target names no linear layer, or the model has LoRA already.
    """
    layers = {name: layer for name, layer in modules(model).items() if name.rpartition(".")[2] in config.targets}
    found = {name.rpartition(".")[2] for name, layer in layers.items() if isinstance(layer, nn.Linear)}
    if absent := [target for target in config.targets if target not in found]:
        has = sorted(
            {name.rpartition(".")[2] for name, layer in modules(model).items() if isinstance(layer, nn.Linear)}
        )
        raise AdapterError(f"`targets` {absent} name no linear layer of this model; it has {has}", "LM-E130")
    _adapt(model, list(layers), config)
    adapted = {name: tensor for name, tensor in adapter_weights(model).items() if name.endswith(".lora_a")}
    keys = mx.random.split(mx.random.key(seed), len(adapted))
    fresh: dict[str, mx.array] = {}
    for key, (name, old) in zip(keys, adapted.items(), strict=True):
        bound = old.shape[0] ** -0.5
        fresh[name] = mx.random.uniform(-bound, bound, old.shape, key=key)
    set_weights(model, fresh)


def merge_lora(model: nn.Module) -> None:
    """Adds every update to its weight and takes LoRA out; the logits agree within 1e-5.

    Raises:
        AdapterError: The model has no LoRA layers.
    """
    merged = {name: layer.fuse() for name, layer in _lora_layers(model).items()}
    if not merged:
        raise AdapterError("`merge_lora`: the model has no LoRA layers", "LM-E131")
    replace_modules(model, merged)
    model.unfreeze()
    evaluate(model.parameters())


def adapter_weights(model: nn.Module) -> dict[str, mx.array]:
    """The LoRA parameters by name, in the order of the names."""
    return {name: tensor for name, tensor in weights(model).items() if name.endswith(_LEAVES)}


def save_adapter(model: nn.Module, config: LoraConfig, directory: Path | str) -> None:
    """Writes `adapters.safetensors` and `adapter_config.json` as mlx-lm does."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    inside = sorted(
        {name.split(".", 3)[3] if name.startswith("model.layers.") else name for name in _lora_layers(model)}
    )
    said = {
        "fine_tune_type": "lora",
        "num_layers": layer_count(model),
        "lora_parameters": {"rank": config.rank, "scale": config.scale, "dropout": config.dropout, "keys": inside},
    }
    save_tensors(adapter_weights(model), directory / "adapters.safetensors")
    with replacing(directory / "adapter_config.json") as beside:
        beside.write_text(json.dumps(said, indent=2, sort_keys=True) + "\n", encoding="utf-8", newline="\n")


def load_adapter(model: nn.Module, directory: Path | str) -> LoraConfig:
    """Adds a stored adapter to the model it was trained on.

    Returns:
        What the adapter was made with.

    Raises:
        AdapterError: Not a LoRA adapter, or not of this model; the tensor is named.
    """
    directory = Path(directory)
    file = directory / "adapter_config.json"
    said = read_json(file)
    if said.get("fine_tune_type", "lora") != "lora":
        raise AdapterError(f"{file}: `fine_tune_type` {said['fine_tune_type']!r}; only 'lora' is read", "LM-E132")
    tensors = load_tensors(directory / "adapters.safetensors")
    layers = sorted({name.rpartition(".")[0] for name in tensors})
    config = _stored_config(file, said.get("lora_parameters"), layers)
    linear = {name for name, layer in modules(model).items() if isinstance(layer, nn.Linear)}
    if unknown := [name for name in layers if name not in linear]:
        raise AdapterError(f"{directory}: adapts `{unknown[0]}`, no linear layer of this model", "LM-E133")
    _adapt(model, layers, config)
    expected = {name: tensor.shape for name, tensor in adapter_weights(model).items()}
    for name in sorted(expected.keys() | tensors.keys()):
        found = tensors[name].shape if name in tensors else None
        if found != expected.get(name):
            raise AdapterError(f"{directory}: `{name}` is {found}, the model needs {expected.get(name)}", "LM-E134")
    set_weights(model, tensors)
    return config


def _stored_config(file: Path, said: Any, layers: list[str]) -> LoraConfig:
    try:
        targets = tuple(sorted({name.rpartition(".")[2] for name in layers}))
        alpha = said["scale"] * said["rank"]
        return LoraConfig(rank=said["rank"], alpha=alpha, dropout=said.get("dropout", 0.0), targets=targets)
    except (KeyError, TypeError) as error:
        raise AdapterError(f"{file}: `lora_parameters` needs `rank` and `scale`, found {said!r}", "LM-E132") from error
    except ValidationError as error:
        raise AdapterError(f"{file}: {in_words(error)}", "LM-E132") from error


def _adapt(model: nn.Module, names: list[str], config: LoraConfig) -> None:
    if _lora_layers(model):
        raise AdapterError("the model has LoRA layers already; `merge_lora` first", "LM-E131")
    lora = import_mlx_lm("tuner.lora")
    model.freeze()
    layers = modules(model)
    adapted: dict[str, nn.Module] = {
        name: lora.LoRALinear.from_base(layers[name], r=config.rank, dropout=config.dropout, scale=config.scale)
        for name in names
    }
    replace_modules(model, adapted)


def _lora_layers(model: nn.Module) -> dict[str, Any]:
    lora = import_mlx_lm("tuner.lora")
    return {name: layer for name, layer in modules(model).items() if isinstance(layer, lora.LoRALinear)}
