"""A directory in Hugging Face's layout <-> a model in memory.

Everything that the tensors must be is read from the file's header and compared with the config before a byte of data
is loaded. On a CPU weights become float32 whatever the file says: bfloat16 multiplies ten times slower there.
"""

import json
import logging
import reprlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from lazarus_core.atomic import filled_folder
from lazarus_models.backend import mx
from lazarus_models.config.dimensions import check_layers, check_numbers
from lazarus_models.config.huggingface import ModelConfig, Precision
from lazarus_models.errors import ConfigError, WeightsError
from lazarus_models.families import family_of, read_config
from lazarus_models.loading.files import Files, HashedFiles, PlainFiles
from lazarus_models.loading.finite import refuse_infinite
from lazarus_models.loading.hub import locate, own_file
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.loading.stored_head import untied_if_different
from lazarus_models.tensor_files import Stored, read_header, save_tensors
from lazarus_models.trees import set_weights, weights
from lazarus_tokenkit import load_tokenizer

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
"""The weights in one file, or the file that names several."""
logger = logging.getLogger(__name__)

_READABLE = ("F32", "F16", "BF16")
_PACKED = ("U32", "U8")
_NOT_TEXT = (
    "vision_tower.",
    "vision_model.",
    "multi_modal_projector.",
    "model.vision_tower.",
    "model.multi_modal_projector.",
)
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl")


def load(
    path: Path | str, *, dtype: Precision | None = None, revision: str | None = None, hashed: bool = False
) -> LoadedModel:
    """Loads a model.

    Args:
        path: A directory with `config.json`, safetensors and tokenizer files, or what else `locate` finds.
        revision: Of a repository of the hub: a branch, tag or commit.
        dtype: Precision in memory. Default: float32 on a CPU, the file's on a GPU.
        hashed: Whether every file is read once and hashed on the way, for `LoadedModel.digests`.

    Raises:
        ConfigError: The config is absent or wrong.
        UnsupportedModel: The config asks for what this version does not do.
        WeightsError: The tensors are absent, damaged, or not the config's; each is named.
    """
    path, commit = locate(path, revision)
    if not hashed:
        return _load(path, commit, dtype, PlainFiles())
    with HashedFiles() as files:
        return replace(_load(path, commit, dtype, files), digests=files.digests)


def _load(path: Path, commit: str | None, dtype: Precision | None, files: Files) -> LoadedModel:
    if (path / SINGLE).exists() and (path / INDEX).exists():
        logger.warning("%s: %s is read, as transformers does; %s and its files are not", path, SINGLE, INDEX)
    config = read_config(path, files.json)
    family = family_of(config.model_type)
    headers = {file: files.header(file) for file in _weight_files(path, files)}
    placed = _placed_tensors(path, headers, files)
    if config.tie_word_embeddings:
        config = untied_if_different(config, placed)
    stored = _stored(headers, placed, config)
    check_layers(config.num_hidden_layers, stored, str(path))
    check_numbers(family.architecture(config), stored, str(path))
    model = family.build(config)
    layout = family.layout_of(config)
    if config.quantization:
        from lazarus_models.loading.quantized_layers import quantize_like  # it quantizes what this module loads

        quantize_like(model, config.quantization, layout.names_in_model(stored))
    ours = weights(model)
    theirs = layout.to_file(ours)
    as_model = _differences(stored, ours) < _differences(stored, theirs)  # mlx-lm's converter writes that layout
    _compare(path, stored, ours if as_model else theirs)
    on_cpu = mx.default_device().type == mx.cpu
    precision: mx.Dtype = getattr(mx, dtype or ("float32" if on_cpu else config.dtype))
    tensors: dict[str, mx.array] = {}
    for file in headers:
        mine = {name: tensor for name, tensor in files.tensors(file).items() if placed[name] == file}
        named = ((_name_in_model(name, config), tensor) for name, tensor in mine.items())
        used = {name: tensor for name, tensor in named if name is not None}
        refuse_infinite(used, file)
        converted = {
            name: tensor.astype(precision) if mx.issubdtype(tensor.dtype, mx.floating) else tensor
            for name, tensor in used.items()
        }
        if precision == mx.float16:  # a weight beyond 65,504 becomes infinite
            refuse_infinite(converted, f"{file} as float16")
        tensors |= converted
    set_weights(model, tensors if as_model else layout.to_model(tensors))
    return LoadedModel(
        model=model,
        tokenizer=load_tokenizer(path),
        config=config,
        family=config.model_type,
        path=path,
        revision=commit,
        generation_config=_read_generation_config(files, path / "generation_config.json", config.vocab_size),
    )


def _read_generation_config(files: Files, file: Path, vocab_size: int) -> Mapping[str, Any]:
    """The settings of a file, its ends checked; empty where there is none.

    Raises:
        ConfigError: An end is no token id of the model.
    """
    if not file.exists():
        return {}
    said = files.json(file)
    ends: Any = said.get("eos_token_id")
    for token in cast("list[Any]", ends) if isinstance(ends, list) else [ends]:
        if token is not None and not (type(token) is int and 0 <= token < vocab_size):
            raise ConfigError(
                f"{file}: `eos_token_id` is {reprlib.repr(token)}, the model has the tokens 0 to {vocab_size - 1}",
                "LM-E108",
            )
    return said


def save(lm: LoadedModel, directory: Path | str) -> None:
    """Writes a directory that `load`, mlx-lm and transformers open; equal models are equal bytes.

    A new directory appears as a whole. Into one that is there, files are moved one by one, `config.json` last.

    Raises:
        WeightsError: The model holds LoRA layers; `merge_lora` it, or `save_adapter`.
    """
    tensors = weights(lm.model)
    adapted = next((name for name in tensors if name.endswith(".lora_a")), None)
    if adapted:
        raise WeightsError(f"`save`: `{adapted}` is LoRA's; call `merge_lora` first, or `save_adapter`", "LM-E126")
    directory = Path(directory)
    if lm.config.quantization is None:
        tensors = family_of(lm.family).layout_of(lm.config).to_file(tensors)
    stored = next(str(tensor.dtype) for tensor in tensors.values() if mx.issubdtype(tensor.dtype, mx.floating))
    stored = stored.rpartition(".")[2]
    config = lm.config.to_huggingface(dtype=stored)  # pyright: ignore[reportArgumentType] (weights have one of the three)
    with filled_folder(directory, last=("config.json",)) as beside:
        lm.tokenizer.save(beside)
        save_tensors(tensors, beside / "model.safetensors")
        if lm.generation_config:
            _write_json(lm.generation_config, beside / "generation_config.json")
        _write_json(config, beside / "config.json")


def supports_packing(lm: LoadedModel) -> bool:
    """Whether every layer of the model honours segment boundaries; false for layers with a state of their own."""
    return family_of(lm.family).architecture(lm.config).supports_packing


def stored_config(path: Path) -> ModelConfig:
    """The config of a directory; not tied where its weights hold a head that is not the embedding."""
    config = read_config(path)
    return untied_if_different(config, _placed(path)[1]) if config.tie_word_embeddings else config


def stored_tensors(path: Path, config: ModelConfig) -> dict[str, Stored]:
    """The tensors that a directory's weights hold and a model of this config uses, from the files' headers alone."""
    return _stored(*_placed(path), config)


def _placed(path: Path) -> tuple[dict[Path, dict[str, Stored]], dict[str, Path]]:
    headers = {file: read_header(file) for file in _weight_files(path, PlainFiles())}
    return headers, _placed_tensors(path, headers, PlainFiles())


def loaded_files(path: Path) -> list[Path]:
    """The files that `load` reads of a directory, but for the tokenizer's.

    Raises:
        WeightsError: There are no weights.
    """
    others = [path / name for name in ("config.json", "generation_config.json", INDEX) if (path / name).exists()]
    found = _weight_files(path, PlainFiles())
    return sorted([*found, *(file for file in others if file.name != INDEX or found != [path / SINGLE])])


def _stored(
    headers: Mapping[Path, Mapping[str, Stored]], placed: Mapping[str, Path], config: ModelConfig
) -> dict[str, Stored]:
    named = ((_name_in_model(name, config), headers[file][name]) for name, file in placed.items())
    return {name: stored for name, stored in named if name is not None}


def _name_in_model(name: str, config: ModelConfig) -> str | None:
    """A stored tensor's name in a text model by itself; None for one that such a model does not use."""
    if name.startswith(_NOT_TEXT):
        return None
    name = name.removeprefix("model.language_model.") if name.startswith("model.language_model.") else name
    name = name.removeprefix("language_model.")
    unused = family_of(config.model_type).unused_tensors
    tied = config.tie_word_embeddings and name.startswith("lm_head.")
    return None if tied or name.endswith(unused) else name


def _write_json(value: Mapping[str, Any], path: Path) -> None:
    path.write_text(
        json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n"
    )


def _placed_tensors(path: Path, headers: Mapping[Path, Mapping[str, Stored]], files: Files) -> dict[str, Path]:
    """Every stored tensor and its file; of a tensor in several files, the one that the index names.

    Raises:
        WeightsError: A file lacks a tensor that the index places there.
    """
    placed = {name: file for file, header in headers.items() for name in header}
    if list(headers) == [path / SINGLE]:
        return placed
    by_name = {file.name: file for file in headers}
    for name, file in files.json(path / INDEX)["weight_map"].items():
        if name not in headers[by_name[file]]:
            raise WeightsError(f"{path}: {INDEX} places `{name}` in {file}, which lacks it; fetch both", "LM-E122")
        placed[name] = by_name[file]
    return placed


def _weight_files(path: Path, files: Files) -> list[Path]:
    single, index = path / SINGLE, path / INDEX
    if single.exists():
        return [own_file(path, SINGLE)]
    if index.exists():
        placed = files.json(index).get("weight_map")
        if not isinstance(placed, dict) or not placed:
            raise WeightsError(f"{index}: no `weight_map` from tensor to file", "LM-E122")
        names = list(cast("dict[str, Any]", placed).values())
        if wrong := next((name for name in names if not isinstance(name, str)), None):
            raise WeightsError(f"{index}: `weight_map` names {wrong!r}, not a file", "LM-E122")
        named = [own_file(path, name) for name in sorted(set(map(str, names)))]
        absent = [file.name for file in named if not file.exists()]
        if absent:
            raise WeightsError(f"{path}: {index.name} names {', '.join(absent)}, absent; fetch them", "LM-E122")
        return named
    pickles = sorted(file.name for pattern in _PICKLES for file in path.glob(pattern))
    if pickles:
        raise WeightsError(
            f"{path}: the weights are pickles ({', '.join(pickles)}), which can run code when they are opened; "
            "only safetensors are read: convert them",
            "LM-E120",
        )
    raise WeightsError(f"{path}: no {SINGLE} and no {INDEX}", "LM-E120")


def _differences(found: Mapping[str, Stored], expected: Mapping[str, mx.array]) -> int:
    shapes = {(name, tensor.shape) for name, tensor in expected.items()}
    return len(shapes ^ {(name, tensor.shape) for name, tensor in found.items()})


def _compare(path: Path, found: Mapping[str, Stored], expected: Mapping[str, mx.array]) -> None:
    if missing := sorted(expected.keys() - found.keys()):
        hint = "; is `tie_word_embeddings` meant to be true?" if missing == ["lm_head.weight"] else ""
        raise WeightsError(f"{path}: config.json describes {_some(missing)}, absent from the weights{hint}", "LM-E123")
    if extra := sorted(found.keys() - expected.keys()):
        raise WeightsError(f"{path}: the weights hold {_some(extra)}, which config.json does not describe", "LM-E124")
    for name, tensor in sorted(found.items()):
        shape = expected[name].shape
        if tensor.shape != shape:
            raise WeightsError(f"{path}: `{name}` is {tensor.shape}, config.json describes {shape}", "LM-E125")
        readable = _READABLE if mx.issubdtype(expected[name].dtype, mx.floating) else _PACKED
        if tensor.dtype not in readable:
            raise WeightsError(f"{path}: `{name}` is {tensor.dtype}; read are {', '.join(readable)}", "LM-E125")


def _some(names: list[str], shown: int = 3) -> str:
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(f"`{name}`" for name in names[:shown]) + rest
