"""Models with a linear score layer instead of the language-model head, in directories that transformers opens.

A directory has the files of a language model. `score.weight` is stored with the other tensors. `config.json` contains
the architecture `...ForSequenceClassification` and the names of the scores.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lazarus_models import LoadedModel, SequenceModel, load, read_config, save
from lazarus_models.backend import mx
from lazarus_models.families import family_of
from lazarus_models.loading import HashedFiles, quantize_like
from lazarus_models.trees import set_weights, weights
from lazarus_tokenkit import load_tokenizer
from lazarus_train.errors import SetupError

if TYPE_CHECKING:
    from lazarus_models.components import Decoder

CAUSAL, SEQUENCE = "ForCausalLM", "ForSequenceClassification"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
SCORE = "score.weight"
FRESH = 0.02
"""Standard deviation of a new score layer, as in transformers."""


@dataclass(frozen=True)
class SequenceHead:
    """Description of the scores.

    Args:
        outputs: Names of the scores; one for a reward or a number.
        problem: transformers' `problem_type`.
    """

    outputs: tuple[str, ...]
    problem: str


def load_with_head(directory: Path, head: SequenceHead, *, seed: int, hashed: bool = False) -> LoadedModel:
    """Loads a model that predicts scores. The head of a language model is replaced by a new score layer.

    Args:
        directory: Directory in Hugging Face's layout, with or without a score layer.
        head: Description of the scores.
        seed: Random seed of a new score layer.
        hashed: Whether every file is read once and hashed while loading, for `LoadedModel.digests`.

    Raises:
        SetupError: The model has other scores, or the tensors do not match the config.
    """
    file = directory / CONFIG
    said: dict[str, Any] = json.loads(file.read_bytes()) if file.is_file() else {}
    if any(str(name).endswith(SEQUENCE) for name in cast("list[Any]", said.get("architectures") or [])):
        with HashedFiles() as files:
            lm = _load_scores(directory, head, files)
            return replace(lm, digests=files.digests) if hashed else lm
    lm = load(directory, hashed=hashed)
    model = SequenceModel(lm.model.config, len(head.outputs))
    fresh = mx.random.normal(weights(model)[SCORE].shape, scale=FRESH, key=mx.random.key(seed))
    if lm.config.quantization is not None:
        quantize_like(model, lm.config.quantization, weights(lm.model))
    known = weights(model)
    set_weights(model, {SCORE: fresh} | {name: each for name, each in weights(lm.model).items() if name in known})
    return _as_loaded(lm, model)


def save_with_head(lm: LoadedModel, head: SequenceHead, directory: Path) -> None:
    """Writes a directory that `load_with_head` and transformers open.

    Args:
        lm: The model.
        head: Description of the scores.
        directory: Output directory.
    """
    save(lm, directory)
    said: dict[str, Any] = json.loads((directory / CONFIG).read_bytes())
    said["architectures"] = [str(name).replace(CAUSAL, SEQUENCE) for name in said["architectures"]]
    heading = {
        "id2label": {str(number): name for number, name in enumerate(head.outputs)},
        "label2id": {name: number for number, name in enumerate(head.outputs)},
        "problem_type": head.problem,
    }
    # Last, also after a resume, whose config has them among its sorted members: the same bytes each time.
    said = {name: value for name, value in said.items() if name not in heading} | heading
    text = json.dumps(said, indent=2, ensure_ascii=False)  # some families have an Infinity in it, which `save` wrote
    (directory / CONFIG).write_text(f"{text}\n", encoding="utf-8", newline="\n")


def _load_scores(directory: Path, head: SequenceHead, files: HashedFiles) -> LoadedModel:
    config = read_config(directory, files.json)
    outputs = tuple(config.raw.get("id2label", {}).values())
    if outputs != head.outputs:
        raise SetupError(f"{directory} gives the scores {outputs}, wanted are {head.outputs}", "LR-E140")
    family = family_of(config.model_type)
    model = SequenceModel(family.architecture(config), len(outputs))
    tensors = dict(files.tensors(directory / WEIGHTS))
    if config.quantization is None:
        tensors = family.layout_of(config).to_model(tensors)
    else:  # `save` leaves packed weights by the model's names
        quantize_like(model, config.quantization, tensors)
    expected = {name: tensor.shape for name, tensor in weights(model).items()}
    if expected != {name: tensor.shape for name, tensor in tensors.items()}:
        raise SetupError(f"{directory}: the tensors are not those that {CONFIG} describes", "LR-E141")
    set_weights(model, tensors)
    generation = directory / "generation_config.json"
    lm = LoadedModel(
        cast("Decoder", model),
        load_tokenizer(directory),
        config,
        config.model_type,
        directory,
        generation_config=files.json(generation) if generation.exists() else {},
    )
    return _as_loaded(lm, model)


def _as_loaded(lm: LoadedModel, model: SequenceModel) -> LoadedModel:
    return replace(lm, model=cast("Decoder", model))  # it has all members that saving and adapters read
