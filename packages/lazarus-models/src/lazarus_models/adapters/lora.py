"""LoRA (Hu et al. 2021, arXiv 2106.09685): y = W x + (alpha / rank) B A x, with W frozen and B = 0 at the start.

DoRA (arXiv 2402.09353) learns the length of each row of W beside it. On quantized weights it is QLoRA (arXiv
2305.14314). The layers are mlx-lm's.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from lazarus_models.backend import mx, nn
from lazarus_models.config.architecture import MoEConfig
from lazarus_models.errors import AdapterError
from lazarus_models.mlx_lm import import_mlx_lm
from lazarus_models.trees import evaluate, modules, part, replace_modules, set_weights, weights

if TYPE_CHECKING:
    from lazarus_models.components.decoder import Decoder

_LEAVES = (".lora_a", ".lora_b", ".m")


class LoraConfig(BaseModel):
    """Which layers are adapted, and how strongly."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["lora", "dora"] = "lora"
    """`dora` learns the length of each row of a weight as well."""
    rank: Annotated[int, Field(gt=0, lt=2**31)] = 8
    """Width of the bottleneck; parameters grow with it."""
    alpha: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 16.0
    """Strength: the update is scaled by alpha / rank (mlx-lm's `scale`)."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of inputs to A that training drops."""
    targets: tuple[str, ...] | None = None
    """Last names or patterns of the layers to adapt, such as `q_proj` or `model.layers.1?.*`; None for every linear layer
    of the blocks but routers."""

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
        AdapterError: A target names no linear layer, or one too narrow for the rank, or the model has LoRA already.
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
    """The names of the layers that targets mean.

    Raises:
        AdapterError: A target means none.
    """
    able = {name for name, layer in modules(model).items() if _is_adaptable(layer)}
    if targets is None:
        experts = {name for name in able if not isinstance(modules(model)[name], nn.Linear | nn.QuantizedLinear)}
        return sorted(name for name in able - experts - _routers(model) if ".layers." in name)
    found = {target: {name for name in able if _means(target, name)} for target in targets}
    if absent := [target for target, names in found.items() if not names]:
        has = sorted({name.rpartition(".")[2] for name in able})
        raise AdapterError(f"`targets` {absent} name no linear layer of this model; it has {has}", "LM-E130")
    return sorted(set[str]().union(*found.values()))


def merge_lora(model: nn.Module) -> dict[str, nn.Module]:
    """Adds every update to its weight and takes LoRA out; the logits agree within 1e-5.

    Quantized weights that were adapted are not quantized again: rounding would take back part of what was learnt (of 3.2 nats
    a token that a LoRA run on 4 bits won, 0.6). To save such a model, `merge_adapter`.

    Returns:
        The adapted layers, with which `unmerge_lora` undoes it.

    Raises:
        AdapterError: The model has no LoRA layers.
    """
    adapted = lora_layers(model)
    if not adapted:
        raise AdapterError("`merge_lora`: the model has no LoRA layers", "LM-E131")
    replace_modules(model, {name: layer.fuse(dequantize=True) for name, layer in adapted.items()})
    model.unfreeze()
    evaluate(model.parameters())
    return adapted


def unmerge_lora(model: nn.Module, adapted: Mapping[str, nn.Module]) -> None:
    """Puts the adapted layers back that `merge_lora` took out, to the last bit."""
    model.freeze()
    replace_modules(model, adapted)


def adapter_weights(model: nn.Module) -> dict[str, mx.array]:
    """The LoRA parameters by name, in the order of the names."""
    layers = tuple(f"{name}." for name in lora_layers(model))
    return {
        name: tensor for name, tensor in weights(model).items() if name.endswith(_LEAVES) and name.startswith(layers)
    }


def adapt(model: nn.Module, names: list[str], config: LoraConfig) -> None:
    """Freezes the model and gives layers adapters whose values are yet to be set."""
    if lora_layers(model):
        raise AdapterError("the model has LoRA layers already; `merge_lora` first", "LM-E131")
    model.freeze()
    replace_modules(model, adapted_layers(model, names, config))


def adapted_layers(model: nn.Module, names: list[str], config: LoraConfig) -> dict[str, nn.Module]:
    """The layers with adapters around them, not yet in the model."""
    lora, dora = import_mlx_lm("tuner.lora"), import_mlx_lm("tuner.dora")
    layers = modules(model)
    made: dict[str, nn.Module] = {}
    for name in names:
        is_linear = isinstance(layers[name], nn.Linear | nn.QuantizedLinear)
        if config.kind == "dora" and not is_linear:
            raise AdapterError(f"`targets`: `{name}` is a stack of experts, which DoRA does not take", "LM-E130")
        adapter = dora.DoRALinear if config.kind == "dora" else lora.LoRALinear if is_linear else lora.LoRASwitchLinear
        made[name] = adapter.from_base(layers[name], r=config.rank, dropout=config.dropout, scale=config.scale)
    return made


def lora_layers(model: nn.Module) -> dict[str, Any]:
    """The adapted layers by name."""
    lora, dora = import_mlx_lm("tuner.lora"), import_mlx_lm("tuner.dora")
    kinds = (lora.LoRALinear, lora.LoRASwitchLinear, dora.DoRALinear)
    return {name: layer for name, layer in modules(model).items() if isinstance(layer, kinds)}


def _refuse_wide(model: nn.Module, names: list[str], rank: int) -> None:
    """Beyond the narrower side of a weight an update of rank r is the whole weight, in more numbers."""
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
    switch = import_mlx_lm("models.switch_layers")
    return isinstance(layer, (nn.Linear, nn.QuantizedLinear, switch.SwitchLinear, switch.QuantizedSwitchLinear))


def _means(target: str, name: str) -> bool:
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
