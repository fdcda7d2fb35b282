"""Shapes of models by their number of parameters: a preset, or a Llama of usual proportions.

V = vocabulary, D = model width, I = feed-forward width, L = layers. A Llama with a head of its own has
2 V D + L (4 D^2 + 3 D I + 2 D) + D parameters.
"""

import math

from lazarus_models import ModelConfig
from lazarus_models.composition import PRESETS, estimate, preset
from lazarus_models.families import canonical, family_of
from lazarus_train.errors import SetupError

_NEAR = 0.03
"""A preset whose number of parameters differs by less is taken: 23M is `tiny` with 23,072,000."""
_CLOSE = 0.05
"""Largest difference of a shape of usual proportions."""
_ASPECT = 64
"""Width by layers: 64 in GPT-3's smallest and 43 to 128 in larger models (Brown et al. 2020, table 2.1). At a fixed number of
parameters the loss hardly depends on it (Kaplan et al. 2020, figure 5).
"""
_HEAD = 64
"""Width of an attention head."""
_MAX_WIDTH, _MAX_LAYERS = 16384, 256


def count_parameters(config: ModelConfig) -> int:
    """The number of parameters of a model, without its weights."""
    return estimate(family_of(config.model_type).architecture(config)).parameters


def shape_of(parameters: int, vocab_size: int) -> tuple[str, ModelConfig]:
    """A name and the config of a model with about so many parameters.

    >>> name, config = shape_of(23_000_000, 32768)
    >>> name, count_parameters(config)
    ('preset tiny', 23072000)

    Args:
        parameters: Wanted number of parameters.
        vocab_size: Rows of the embedding.

    Raises:
        SetupError: No shape has about so many parameters with this vocabulary.
    """
    counts = {name: count_parameters(preset(name, vocab_size=vocab_size)) for name in PRESETS}
    name = min(counts, key=lambda each: _difference(counts[each], parameters))
    if _difference(counts[name], parameters) < _NEAR:
        return f"preset {name}", preset(name, vocab_size=vocab_size)
    close: list[tuple[float, int, int]] = []
    for width in range(_HEAD, _MAX_WIDTH + 1, _HEAD):
        block = _llama_parameters(0, width, 1) - width
        layers = round((parameters - _llama_parameters(vocab_size, width, 0)) / block)
        if (
            1 <= layers <= _MAX_LAYERS
            and _difference(_llama_parameters(vocab_size, width, layers), parameters) < _CLOSE
        ):
            close.append((abs(math.log(width / layers / _ASPECT)), width, layers))
    if not close:
        raise SetupError(
            f"no shape with a vocabulary of {vocab_size:,} has about {parameters:,} parameters: give another `params` or `vocab_size`, "
            "or a `preset` or `model`",
            "LR-E282",
        )
    _, width, layers = min(close)
    raw = {
        **PRESETS["medium"],
        "hidden_size": width,
        "intermediate_size": _feed_width(width),
        "num_hidden_layers": layers,
    }
    raw |= {"num_attention_heads": width // _HEAD, "vocab_size": vocab_size}
    return f"a Llama of width {width} with {layers} layers", canonical(raw, "the shape")


def _llama_parameters(vocab_size: int, width: int, layers: int) -> int:
    return 2 * vocab_size * width + layers * (4 * width**2 + 3 * width * _feed_width(width) + 2 * width) + width


def _feed_width(width: int) -> int:
    """8/3 of the width, as in Llama (Touvron et al. 2023), rounded up to a multiple of 64."""
    return _HEAD * math.ceil(8 * width / 3 / _HEAD)


def _difference(count: int, wanted: int) -> float:
    return abs(count / wanted - 1)
