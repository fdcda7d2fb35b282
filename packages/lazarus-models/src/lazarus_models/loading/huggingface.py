"""Loads and saves models in Hugging Face's directory layout.

Names, shapes and types of tensors are read from the files' headers and compared with the config before data is loaded. On a CPU,
weights become float32, because bfloat16 products are ten times slower there.
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
from lazarus_models.config.huggingface import ModelConfig, Precision
from lazarus_models.errors import ConfigError, WeightsError
from lazarus_models.families import family_of, read_config
from lazarus_models.loading.assembly import assemble
from lazarus_models.loading.files import Files, HashedFiles, PlainFiles
from lazarus_models.loading.gguf.load import is_gguf, load_gguf
from lazarus_models.loading.hub import locate, own_file
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.loading.stored_head import untied_if_different
from lazarus_models.tensor_files import Stored, read_header, save_tensors
from lazarus_models.trees import weights
from lazarus_tokenkit import load_tokenizer

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
"""The file with all weights, or the index of several files."""
logger = logging.getLogger(__name__)

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
        path: A directory with `config.json`, safetensors and tokenizer files, a GGUF file, or another name that `locate`
            accepts.
        dtype: Precision in memory. None: float32 on a CPU, the file's precision on a GPU.
        revision: Branch, tag or commit of a repository on the hub; None for the main branch.
        hashed: Read every file once and record its SHA-256 in `LoadedModel.digests`.

    Raises:
        ConfigError: The config is missing or invalid.
        UnsupportedModel: The family or a setting is not supported.
        WeightsError: Tensors are missing, damaged, or not those of the config; the message names them.
    """
    if is_gguf(path):
        return load_gguf(Path(path), dtype=dtype, hashed=hashed)
    path, commit = locate(path, revision)
    if not hashed:
        return _load(path, commit, dtype, PlainFiles())
    with HashedFiles() as files:
        return replace(_load(path, commit, dtype, files), digests=files.digests)


def _load(path: Path, commit: str | None, dtype: Precision | None, files: Files) -> LoadedModel:
    if (path / SINGLE).exists() and (path / INDEX).exists():
        logger.warning("%s: using %s, as transformers does; %s and its files are ignored", path, SINGLE, INDEX)
    config = read_config(path, files.json)
    headers = {file: files.header(file) for file in _weight_files(path, files)}
    placed = _placed_tensors(path, headers, files)
    if config.tie_word_embeddings:
        config = untied_if_different(config, placed)
    stored = _stored(headers, placed, config)
    groups = ((file, _used(file, placed, files, config)) for file in headers)
    model = assemble(path, config, stored, groups, dtype)
    return LoadedModel(
        model=model,
        tokenizer=load_tokenizer(path),
        config=config,
        family=config.model_type,
        path=path,
        revision=commit,
        generation_config=_read_generation_config(files, path / "generation_config.json", config.vocab_size),
    )


def _used(file: Path, placed: Mapping[str, Path], files: Files, config: ModelConfig) -> dict[str, mx.array]:
    """The tensors of a file that the model uses, by their names in the model."""
    mine = {name: tensor for name, tensor in files.tensors(file).items() if placed[name] == file}
    named = ((_name_in_model(name, config), tensor) for name, tensor in mine.items())
    return {name: tensor for name, tensor in named if name is not None}


def _read_generation_config(files: Files, file: Path, vocab_size: int) -> Mapping[str, Any]:
    """Reads a `generation_config.json` and checks its stop ids; empty if there is no file.

    Raises:
        ConfigError: A stop id is outside the vocabulary.
    """
    if not file.exists():
        return {}
    said = files.json(file)
    ends: Any = said.get("eos_token_id")
    for token in cast("list[Any]", ends) if isinstance(ends, list) else [ends]:
        if token is not None and not (type(token) is int and 0 <= token < vocab_size):
            raise ConfigError(
                f"{file}: `eos_token_id` is {reprlib.repr(token)}, but the model's tokens are 0 to {vocab_size - 1}",
                "LM-E108",
            )
    return said


def save(lm: LoadedModel, directory: Path | str) -> None:
    """Writes a directory that `load`, mlx-lm and transformers open; equal models give equal bytes.

    A new directory appears only when it is complete. In an existing one, files are replaced one by one, `config.json` last.

    Args:
        lm: The model, without LoRA layers.
        directory: The directory.

    Raises:
        WeightsError: The model has LoRA layers; call `merge_lora` or `save_adapter`.
    """
    tensors = weights(lm.model)
    adapted = next((name for name in tensors if name.endswith(".lora_a")), None)
    if adapted:
        raise WeightsError(
            f"`save`: `{adapted}` belongs to a LoRA layer; call `merge_lora` first, or `save_adapter`", "LM-E126"
        )
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
    """Whether packed rows are exact: no layer has a state, absolute positions or chunks."""
    return family_of(lm.family).architecture(lm.config).supports_packing


def stored_config(path: Path) -> ModelConfig:
    """The config of a directory; not tied if the weights include a head that differs from the embedding."""
    config = read_config(path)
    return untied_if_different(config, _placed(path)[1]) if config.tie_word_embeddings else config


def stored_tensors(path: Path, config: ModelConfig) -> dict[str, Stored]:
    """Shapes and types of the stored tensors that a model uses, from the files' headers.

    Args:
        path: The directory.
        config: Its config.
    """
    return _stored(*_placed(path), config)


def _placed(path: Path) -> tuple[dict[Path, dict[str, Stored]], dict[str, Path]]:
    headers = {file: read_header(file) for file in _weight_files(path, PlainFiles())}
    return headers, _placed_tensors(path, headers, PlainFiles())


def loaded_files(path: Path) -> list[Path]:
    """The files of a directory that `load` reads, except those of the tokenizer, sorted.

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
    """The name of a stored tensor in the text model; None if the text model does not use it."""
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
    """The file of every stored tensor; for a tensor in several files, the one in the index.

    Raises:
        WeightsError: A file lacks a tensor that the index assigns to it.
    """
    placed = {name: file for file, header in headers.items() for name in header}
    if list(headers) == [path / SINGLE]:
        return placed
    by_name = {file.name: file for file in headers}
    for name, file in files.json(path / INDEX)["weight_map"].items():
        if name not in headers[by_name[file]]:
            raise WeightsError(
                f"{path}: {INDEX} assigns `{name}` to {file}, which lacks it; fetch both again", "LM-E122"
            )
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
            raise WeightsError(f"{index}: `weight_map` contains {wrong!r} instead of a file name", "LM-E122")
        named = [own_file(path, name) for name in sorted(set(map(str, names)))]
        absent = [file.name for file in named if not file.exists()]
        if absent:
            raise WeightsError(f"{path}: {', '.join(absent)} of {index.name} are missing; fetch them again", "LM-E122")
        return named
    pickles = sorted(file.name for pattern in _PICKLES for file in path.glob(pattern))
    if pickles:
        raise WeightsError(
            f"{path}: the weights are pickles ({', '.join(pickles)}), which can run code when opened; convert them to "
            "safetensors",
            "LM-E120",
        )
    raise WeightsError(f"{path}: no {SINGLE} and no {INDEX}", "LM-E120")
