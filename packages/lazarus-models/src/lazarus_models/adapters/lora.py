"""LoRA (Hu et al. 2021, arXiv 2106.09685): y = W x + (alpha / rank) B A x, with W frozen and B = 0 at the start.

DoRA (arXiv 2402.09353) also learns the length of each row of W. On quantized weights, LoRA is QLoRA (arXiv 2305.14314).
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, cast

from lazarus_models.adapters.config import LoraConfig
from lazarus_models.adapters.layers import DoRALinear, LoRALinear, LoRASwitchLinear
from lazarus_models.backend import mx, nn
from lazarus_models.components.switch_layers import QuantizedSwitchLinear, SwitchLinear
from lazarus_models.config.architecture import MoEConfig
from lazarus_models.errors import AdapterError
from lazarus_models.trees import evaluate, modules, part, replace_modules, set_weights, weights

if TYPE_CHECKING:
    from lazarus_models.components.decoder import Decoder

_LEAVES = (".lora_a", ".lora_b", ".m")


def apply_lora(model: nn.Module, config: LoraConfig, *, seed: int) -> None:
    """Freezes a model and adds LoRA to its target layers; the logits do not change.

    Args:
        model: The model, changed in place.
        config: Rank, strength and targets.
        seed: Random seed of A, at least 0. A is uniform within 1 / sqrt(inputs), as in mlx-lm; B is zero.

    Raises:
        AdapterError: A target matches no linear layer, a layer is narrower than the rank, or the model has LoRA already.
    """
    names = target_layers(model, config.targets)
    _refuse_wide(model, names, config.rank)
    adapt(model, names, config)
    fresh: dict[str, mx.array] = {}
    adapted = {name: tensor for name, tensor in adapter_weights(model).items() if name.endswith(".lora_a")}
    keys = mx.random.split(mx.random.key(seed), len(adapted))
    for key, (name, old) in zip(keys, adapted.items(), strict=True):
        inputs = old.shape[-1] if old.ndim == 3 else old.shape[0]  # experts: (E, rank, inputs), else (inputs, rank)
        fresh[name] = mx.random.uniform(-(inputs**-0.5), inputs**-0.5, old.shape, key=key)
    set_weights(model, fresh)


def target_layers(model: nn.Module, targets: tuple[str, ...] | None) -> list[str]:
    """The names of the layers that targets match, sorted.

    Args:
        model: The model.
        targets: Last names or patterns; None for the default of `LoraConfig.targets`.

    Raises:
        AdapterError: A target matches no linear layer.
    """
    able = {name for name, layer in modules(model).items() if _is_adaptable(layer)}
    if targets is None:
        experts = {name for name in able if not isinstance(modules(model)[name], nn.Linear | nn.QuantizedLinear)}
        return sorted(name for name in able - experts - _routers(model) if ".layers." in name)
    found = {target: {name for name in able if _matches(target, name)} for target in targets}
    if absent := [target for target, names in found.items() if not names]:
        has = sorted({name.rpartition(".")[2] for name in able})
        raise AdapterError(f"`targets` {absent} name no linear layer of this model; it has {has}", "LM-E130")
    return sorted(set[str]().union(*found.values()))


def merge_lora(model: nn.Module) -> dict[str, nn.Module]:
    """Adds every update to its weight and removes the LoRA layers; the logits agree within 1e-5.

    Adapted quantized weights become floats: rounding again would undo part of the training (0.6 of the 3.2 nats a token
    that a LoRA run on 4 bits gained). Use `merge_adapter` to save such a model.

    Returns:
        The adapted layers by name, for `unmerge_lora`.

    Raises:
        AdapterError: The model has no LoRA layers.
    """
    adapted = lora_layers(model)
    if not adapted:
        raise AdapterError("`merge_lora`: the model has no LoRA layers", "LM-E131")
    replace_modules(model, {name: layer.fuse() for name, layer in adapted.items()})
    model.unfreeze()
    evaluate(model.parameters())
    return adapted


def unmerge_lora(model: nn.Module, adapted: Mapping[str, nn.Module]) -> None:
    """Restores the layers that `merge_lora` replaced, bit for bit.

    Args:
        model: The merged model, changed in place.
        adapted: The result of `merge_lora`.
    """
    model.freeze()
    replace_modules(model, adapted)


def adapter_weights(model: nn.Module) -> dict[str, mx.array]:
    """The LoRA parameters by name, sorted by name."""
    layers = tuple(f"{name}." for name in lora_layers(model))
    return {
        name: tensor for name, tensor in weights(model).items() if name.endswith(_LEAVES) and name.startswith(layers)
    }


def adapt(model: nn.Module, names: list[str], config: LoraConfig) -> None:
    """Freezes the model and adds adapters with arbitrary values, to be set by the caller.

    Args:
        model: The model, changed in place.
        names: Dotted names of the layers.
        config: Kind, rank and strength.
    """
    if lora_layers(model):
        raise AdapterError("the model has LoRA layers already; `merge_lora` first", "LM-E131")
    model.freeze()
    replace_modules(model, adapted_layers(model, names, config))


def adapted_layers(model: nn.Module, names: list[str], config: LoraConfig) -> dict[str, nn.Module]:
    """Layers wrapped in adapters, by name; the model is not changed.

    Args:
        model: The model.
        names: Dotted names of the layers.
        config: Kind, rank and strength.
    """
    layers = modules(model)
    made: dict[str, nn.Module] = {}
    for name in names:
        is_linear = isinstance(layers[name], nn.Linear | nn.QuantizedLinear)
        if config.kind == "dora" and not is_linear:
            raise AdapterError(f"`targets`: `{name}` is a stack of experts, which DoRA does not support", "LM-E130")
        adapter: Any = DoRALinear if config.kind == "dora" else LoRALinear if is_linear else LoRASwitchLinear
        made[name] = adapter(layers[name], rank=config.rank, dropout=config.dropout, scale=config.scale)
    return made


def lora_layers(model: nn.Module) -> dict[str, Any]:
    """The adapted layers by name."""
    kinds = (LoRALinear, LoRASwitchLinear, DoRALinear)
    return {name: layer for name, layer in modules(model).items() if isinstance(layer, kinds)}


def _refuse_wide(model: nn.Module, names: list[str], rank: int) -> None:
    """Refuses a rank above the narrower side of a weight: the update would have more parameters than the weight."""
    layers = modules(model)
    for name in names:
        weight: mx.array = part(layers[name], "weight")
        outputs, inputs = weight.shape[-2:]
        if weight.dtype == mx.uint32:
            inputs = inputs * 32 // cast("nn.QuantizedLinear", layers[name]).bits
        if rank > min(outputs, inputs):
            raise AdapterError(
                f"`rank` {rank} exceeds the narrower side of `{name}` ({inputs} -> {outputs}); "
                f"give at most {min(outputs, inputs)}, or `targets` without it",
                "LM-E137",
            )


def _is_adaptable(layer: nn.Module) -> bool:
    return isinstance(layer, (nn.Linear, nn.QuantizedLinear, SwitchLinear, QuantizedSwitchLinear))


def _matches(target: str, name: str) -> bool:
    return name.rpartition(".")[2] == target or fnmatchcase(name, target)


def _routers(model: nn.Module) -> set[str]:
    decoder = cast("Decoder", model)
    body = decoder.config.names[0]
    return {
        f"{body}.layers.{place}.{part.name}.{part.names[0]}"
        for place, block in enumerate(decoder.config.blocks)
        for part in block.feed_forward
        if isinstance(part, MoEConfig)
    }
