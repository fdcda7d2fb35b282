"""Builds a model from a config and stored tensors, whatever file they are in.

Names, shapes and types are compared with the config before data is read.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from lazarus_models.backend import mx, on_cpu
from lazarus_models.components.decoder import Decoder
from lazarus_models.config.dimensions import check_layers, check_numbers
from lazarus_models.config.huggingface import ModelConfig, Precision
from lazarus_models.errors import WeightsError
from lazarus_models.families import family_of
from lazarus_models.loading.finite import refuse_infinite
from lazarus_models.tensor_files import Stored
from lazarus_models.trees import set_weights, weights

_READABLE = ("F32", "F16", "BF16")
_PACKED = ("U32", "U8")


def assemble(
    path: Path,
    config: ModelConfig,
    stored: Mapping[str, Stored],
    tensors: Iterable[tuple[Path | str, Mapping[str, mx.array]]],
    dtype: Precision | None,
) -> Decoder:
    """Builds a model and gives it the stored weights.

    Args:
        path: The directory or file, for messages.
        config: The config.
        stored: Shape and type of each stored tensor that the model uses, by its name in the model.
        tensors: The tensors by name, each group with its place for messages; read one group at a time.
        dtype: Precision in memory. None: float32 on a CPU, the config's precision on a GPU.

    Raises:
        WeightsError: Tensors are missing, damaged, or not those of the config; the message names them.
    """
    family = family_of(config.model_type)
    check_layers(config.num_hidden_layers, stored, str(path))
    check_numbers(family.architecture(config), stored, str(path))
    model = family.build(config)
    layout = family.layout_of(config)
    if config.quantization:
        from lazarus_models.loading.quantized_layers import quantize_like  # it quantizes what this module loads

        quantize_like(model, config.quantization, layout.names_in_model(stored))
    ours = weights(model)
    theirs = layout.to_file(ours)
    as_model = _differences(stored, ours) < _differences(stored, theirs)  # mlx-lm's converter writes our layout
    _compare(path, stored, ours if as_model else theirs)
    precision: mx.Dtype = getattr(mx, dtype or ("float32" if on_cpu() else config.dtype))
    read: dict[str, mx.array] = {}
    for place, group in tensors:
        read |= _converted(group, precision, place)
    set_weights(model, read if as_model else layout.to_model(read))
    return model


def set_precision(model: Decoder, dtype: Precision) -> None:
    """Converts the floating weights of a model; quantized weights stay, their scales are converted.

    Args:
        model: The model, changed in place.
        dtype: Precision in memory.

    Raises:
        WeightsError: A weight is infinite in float16.
    """
    set_weights(model, _converted(weights(model), getattr(mx, dtype), "the model"))


def _converted(group: Mapping[str, mx.array], precision: mx.Dtype, place: Path | str) -> dict[str, mx.array]:
    refuse_infinite(group, place)
    converted = {
        name: tensor.astype(precision) if mx.issubdtype(tensor.dtype, mx.floating) else tensor
        for name, tensor in group.items()
    }
    if precision == mx.float16:  # a weight beyond 65,504 becomes infinite
        refuse_infinite(converted, f"{place} as float16")
    return converted


def _differences(found: Mapping[str, Stored], expected: Mapping[str, mx.array]) -> int:
    shapes = {(name, tensor.shape) for name, tensor in expected.items()}
    return len(shapes ^ {(name, tensor.shape) for name, tensor in found.items()})


def _compare(path: Path, found: Mapping[str, Stored], expected: Mapping[str, mx.array]) -> None:
    if missing := sorted(expected.keys() - found.keys()):
        hint = "; should `tie_word_embeddings` be true?" if missing == ["lm_head.weight"] else ""
        raise WeightsError(f"{path}: config.json describes {_some(missing)}, which the weights lack{hint}", "LM-E123")
    if extra := sorted(found.keys() - expected.keys()):
        raise WeightsError(
            f"{path}: the weights contain {_some(extra)}, which config.json does not describe", "LM-E124"
        )
    for name, tensor in sorted(found.items()):
        shape = expected[name].shape
        if tensor.shape != shape:
            raise WeightsError(f"{path}: `{name}` is {tensor.shape}, but config.json describes {shape}", "LM-E125")
        readable = _READABLE if mx.issubdtype(expected[name].dtype, mx.floating) else _PACKED
        if tensor.dtype not in readable:
            raise WeightsError(f"{path}: `{name}` is {tensor.dtype}; supported are {', '.join(readable)}", "LM-E125")


def _some(names: list[str], shown: int = 3) -> str:
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(f"`{name}`" for name in names[:shown]) + rest
