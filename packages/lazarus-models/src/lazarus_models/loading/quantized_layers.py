"""Quantization of matrices to 2 to 8 bits, with a scale and a bias for every group of weights, in mlx-lm's format.

Routers, and layers that a recipe selects, keep more bits. mlx-lm opens a saved quantized model unchanged.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from lazarus_models.backend import mx, nn
from lazarus_models.config.architecture import MoEConfig
from lazarus_models.config.huggingface import Quantization
from lazarus_models.errors import UnsupportedModel
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.ops.normalizer import log_normalizer
from lazarus_models.trees import evaluate, modules, part
from lazarus_models.vocabulary import check_ids

MIXED = {
    "mixed_2_6": (2, 6),
    "mixed_3_4": (3, 4),
    "mixed_3_6": (3, 6),
    "mixed_4_6": (4, 6),
}
"""Recipes: (bits of most layers, bits of sensitive layers). Sensitive are the head, and the value and down projections of every
third layer and of the first and last eighth of the layers (llama.cpp's rule for Q4_K_M, as in mlx-lm)."""
GROUP_SIZES = (32, 64, 128)
"""Supported numbers of weights that share a scale."""
_ROUTER_BITS = 8


def quantize(
    lm: LoadedModel, *, bits: int = 4, group_size: int = 64, recipe: str | None = None, skip: Sequence[str] = ()
) -> LoadedModel:
    """Quantizes the layers of a model in place.

    Args:
        lm: A model with plain weights.
        bits: Bits of a weight: 2 to 6, or 8. Ignored with a recipe.
        group_size: Weights that share a scale: 32, 64 or 128.
        recipe: A key of `MIXED`; None for `bits` in every layer.
        skip: Patterns of names of layers that stay plain.

    Returns:
        The model with a config that describes the quantization.

    Raises:
        UnsupportedModel: The model is quantized already, or no layer's width is a multiple of `group_size`.
    """
    if lm.config.quantization is not None:
        raise UnsupportedModel("`quantize`: the model is quantized already; use the plain model", "LM-E114")
    if group_size not in GROUP_SIZES:
        raise UnsupportedModel(
            f"`quantize`: `group_size` {group_size} is not supported; supported are {GROUP_SIZES}", "LM-E114"
        )
    low, high = MIXED[recipe] if recipe else (bits, bits)
    settings = _layer_settings(lm, low, high, group_size, skip)
    quantized = {name: said for name, said in settings.items() if said is not False}
    if not quantized:
        raise UnsupportedModel(
            f"`quantize`: no layer's width is a multiple of `group_size` {group_size}; use a smaller one", "LM-E114"
        )
    _quantize(lm.model, Quantization(bits=low, group_size=group_size), settings)  # pyright: ignore[reportArgumentType] (checked)
    evaluate(lm.model.parameters())
    # The config lists only layers that differ from the default of `bits` and `group_size`.
    own = {name: said for name, said in settings.items() if said is not True}
    quantization = Quantization.model_validate({"bits": low, "group_size": group_size, "layers": own})
    return replace(lm, config=lm.config.model_copy(update={"quantization": quantization}))


def quantize_like(model: nn.Module, quantization: Quantization, stored: Collection[str]) -> None:
    """Quantizes the layers of a model that are quantized in a checkpoint, with arbitrary values.

    Args:
        model: A model with plain weights, changed in place.
        quantization: The settings of the checkpoint.
        stored: Names of the checkpoint's tensors; a layer with stored scales is quantized.
    """
    settings = {
        name: quantization.layers.get(name, True) if f"{name}.scales" in stored else False
        for name, layer in modules(model).items()
        if hasattr(layer, "to_quantized")
    }
    _quantize(model, quantization, settings)


WINDOW = 512
"""Default tokens of a window of `perplexity`."""


def perplexity(
    lm: LoadedModel,
    ids: Sequence[int],
    *,
    window: int = WINDOW,
    on_tokens: Callable[[int], object] = lambda tokens: None,
) -> float:
    """exp(mean negative log-likelihood) of the tokens of a text after its first.

    The text is split into windows that do not overlap. A token is predicted from earlier tokens of its window, so a longer
    window gives a lower perplexity. Compare only values with equal windows.

    Args:
        lm: The model.
        ids: Token ids of the text, at least two.
        window: Tokens of a window.
        on_tokens: Called after each window with its number of tokens.

    Raises:
        GenerationError: An id is outside the vocabulary.
    """
    check_ids(ids, lm.config.vocab_size, "the text")
    total, tokens = 0.0, 0
    for start in range(0, len(ids) - 1, window):
        part = mx.array([ids[start : start + window + 1]])  # one token more than inputs: the last target
        logits = lm.model(part[:, :-1]).astype(mx.float32)
        chosen = mx.take_along_axis(logits, part[:, 1:, None], axis=-1)
        losses = log_normalizer(logits) - chosen
        total += float(losses.sum())
        tokens += losses.size
        on_tokens(losses.size)
    return float(mx.exp(mx.array(total / tokens)))


def _quantize(model: nn.Module, quantization: Quantization, settings: Mapping[str, bool | dict[str, Any]]) -> None:
    def of_layer(name: str, layer: nn.Module) -> bool | dict[str, Any]:
        return settings.get(name, False)

    nn.quantize(  # pyright: ignore[reportUnknownMemberType] (the stub leaves the predicate's dict untyped)
        model,
        group_size=quantization.group_size,
        bits=quantization.bits,
        mode=quantization.mode,
        class_predicate=of_layer,
    )


def _layer_settings(
    lm: LoadedModel, low: int, high: int, group_size: int, skip: Sequence[str]
) -> dict[str, bool | dict[str, Any]]:
    count = lm.config.num_hidden_layers
    routers = _routers(lm)
    settings: dict[str, bool | dict[str, Any]] = {}
    for name, layer in modules(lm.model).items():
        if not hasattr(layer, "to_quantized"):
            continue
        weight: mx.array = part(layer, "weight")
        # A row must consist of whole groups: each group of a row has one scale and one bias.
        if weight.shape[-1] % group_size or any(fnmatchcase(name, pattern) for pattern in skip):
            settings[name] = False
        elif name in routers:
            settings[name] = {"bits": _ROUTER_BITS, "group_size": group_size}
        elif low != high and _is_costly(name, count):
            settings[name] = {"bits": high, "group_size": group_size}
        else:
            settings[name] = True
    return settings


def _is_costly(name: str, layers: int) -> bool:
    if "lm_head" in name:
        return True
    numbers = [int(part) for part in name.split(".") if part.isdecimal()]
    if not numbers or not name.endswith(("v_proj", "down_proj")):
        return False
    # Errors of the first and last layers, and of every third one between, change the output most (llama.cpp).
    layer, eighth = numbers[0], layers // 8
    return layer < eighth or layer >= layers - eighth or (layer - eighth) % 3 == 2


def _routers(lm: LoadedModel) -> set[str]:
    config = lm.model.config
    return {
        f"{config.names[0]}.layers.{place}.{feed.name}.{feed.names[0]}"
        for place, block in enumerate(config.blocks)
        for feed in block.feed_forward
        if isinstance(feed, MoEConfig)
    }
