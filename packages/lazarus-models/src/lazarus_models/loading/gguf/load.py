"""Loads a model from one GGUF file: weights, config, tokenizer, special tokens and chat template.

Quantized weights become the float32 numbers that they mean. The header is checked before a weight is read, and the weights
are compared with the config as those of a directory are.
"""

import hashlib
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from lazarus_core.bounded import open_file
from lazarus_models.backend import mx
from lazarus_models.config.huggingface import ModelConfig, Precision
from lazarus_models.errors import UnsupportedModel
from lazarus_models.families import canonical
from lazarus_models.loading.assembly import assemble
from lazarus_models.loading.gguf.config import TURN_ENDS, config_of, llama3_rope
from lazarus_models.loading.gguf.dequantize import GgufWeights, open_weights
from lazarus_models.loading.gguf.header import GgufHeader, TensorType, read_gguf_header
from lazarus_models.loading.gguf.names import ROPE_FACTORS, is_rotated, name_in_model, neighbours_to_halves
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.tensor_files import Stored
from lazarus_models.trees import evaluate
from lazarus_tokenkit.tokenizers import tokenizer_from_gguf

SUFFIX = ".gguf"
_PRECISIONS: Mapping[TensorType, Precision] = {TensorType.F16: "float16", TensorType.BF16: "bfloat16"}
_BLOCK = 1 << 20  # bytes that are hashed at once


def is_gguf(path: Path | str) -> bool:
    """Whether a model is given as a GGUF file."""
    return has_suffix(path) and Path(path).is_file()


def has_suffix(path: Path | str) -> bool:
    """Whether a path has the ending of GGUF files, in any case."""
    return str(path).lower().endswith(SUFFIX)


def load_gguf(path: Path, *, dtype: Precision | Literal["file"] | None = None, hashed: bool = False) -> LoadedModel:
    """Loads a model from a GGUF file.

    Args:
        path: The file. A model in several files is refused, since its tensors are missing.
        dtype: Precision in memory. `file`: that of most matrices, float32 for quantized weights. None: float32 on a CPU,
            `file` on a GPU.
        hashed: Record the file's SHA-256 in `LoadedModel.digests`.

    Raises:
        WeightsError: The file is damaged, or its tensors are not those of its metadata.
        ConfigError: A key of the metadata is missing or invalid.
        UnsupportedModel: The architecture, a setting, a type of weights or a tensor is not supported, or quantized weights
            need the extra `gguf`.
        TokenizerError: The vocabulary is damaged or of a kind that is not supported.
    """
    header = read_gguf_header(path)
    raw = config_of(header, path)
    raw["dtype"] = raw["torch_dtype"] = _precision(header)
    tokenizer = tokenizer_from_gguf(header.metadata, str(path))
    with ExitStack() as stack:
        weights = stack.enter_context(open_weights(path, header.tensors))
        if ROPE_FACTORS in header.tensors:
            raw["rope_scaling"] = llama3_rope(weights.read(ROPE_FACTORS), raw["rope_theta"], raw["head_dim"], path)
        config = canonical({key: value for key, value in raw.items() if value is not None}, str(path))
        named = _named(header, config, path)
        stored = {name: Stored(header.tensors[theirs].shape, "F32") for name, theirs in named.items()}
        model = assemble(
            path,
            config,
            stored,
            _tensors(path, named, weights, header, config),
            config.dtype if dtype == "file" else dtype,
        )
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        config=config,
        family=config.model_type,
        path=path,
        generation_config=_generation_config(header, config),
        digests={path.name: _digest(path)} if hashed else {},
    )


def _precision(header: GgufHeader) -> Precision:
    """The precision of most matrices; float32 if they are quantized."""
    kinds = Counter(tensor.type for tensor in header.tensors.values() if len(tensor.shape) > 1)
    return _PRECISIONS.get(kinds.most_common(1)[0][0], "float32") if kinds else "float32"


def _named(header: GgufHeader, config: ModelConfig, path: Path) -> dict[str, str]:
    """The names in the file by those in the model."""
    architecture = str(header.metadata["general.architecture"])
    named: dict[str, str] = {}
    for theirs in header.tensors:
        if theirs == ROPE_FACTORS:
            continue
        ours = name_in_model(theirs, architecture)
        if ours is None:
            raise UnsupportedModel(f"{path}: the tensor `{theirs}` of a {architecture} is not supported", "LM-E266")
        named[ours] = theirs
    if config.tie_word_embeddings:
        named.pop("lm_head.weight", None)
    return named


def _tensors(
    path: Path, named: Mapping[str, str], weights: GgufWeights, header: GgufHeader, config: Any
) -> Generator[tuple[Path, Mapping[str, mx.array]]]:
    """The tensors one by one, with the model's order of rows and the norms of a Gemma reduced by one, as its files have them."""
    architecture = header.metadata["general.architecture"]
    for ours, theirs in named.items():
        tensor = weights.read(theirs)
        if architecture == "llama" and is_rotated(theirs):
            heads = config.num_attention_heads if "attn_q" in theirs else config.num_key_value_heads
            tensor = neighbours_to_halves(tensor, heads)
        if architecture == "gemma3" and theirs.endswith("norm.weight"):
            tensor = tensor.astype(mx.float32) - 1
        evaluate(tensor)  # the file is closed later
        yield path, {ours: tensor}


def _generation_config(header: GgufHeader, config: ModelConfig) -> dict[str, Any]:
    """The ends of an answer, if there are more than eos."""
    ends = list(config.eos_token_ids)
    for key in TURN_ENDS:
        token = header.metadata.get(key)
        if type(token) is int and 0 <= token < config.vocab_size and token not in ends:
            ends.append(token)
    return {"eos_token_id": ends} if len(ends) > 1 else {}


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open_file(path) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
