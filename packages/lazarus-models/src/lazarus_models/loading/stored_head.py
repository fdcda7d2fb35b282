"""Checkpoints with tied embeddings that also store a head.

`tie_word_embeddings: true` means that the head is the embedding. Some checkpoints store a head nevertheless: a copy, or other
weights. If the stored head differs, transformers uses it and does not tie it; so does this module.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lazarus_models.backend import mx
from lazarus_models.config.huggingface import ModelConfig
from lazarus_models.tensor_files import plain_name, read_header

logger = logging.getLogger(__name__)

_HEAD = "lm_head."
_EMBEDDINGS = ("embed_tokens.", "embeddings.")


def untied_if_different(config: ModelConfig, tensors: Mapping[str, Path]) -> ModelConfig:
    """The config, not tied if the stored head differs from the embedding.

    Args:
        config: The config from `config.json`.
        tensors: The file of each stored tensor.
    """
    heads = sorted(name for name in tensors if name.startswith(_HEAD) or f".{_HEAD}" in name)
    if not config.tie_word_embeddings or not heads or all(_is_copy(name, tensors) for name in heads):
        return config
    logger.warning(
        "`tie_word_embeddings` is true, but %s stores a head that differs from the embedding: using the stored head",
        tensors[heads[0]],
    )
    return config.model_copy(update={"tie_word_embeddings": False})


def _is_copy(head: str, tensors: Mapping[str, Path]) -> bool:
    """Whether a tensor of the head equals the embedding's tensor with the same last name."""
    leaf = head.rpartition(".")[2]
    twins = [name for name in tensors if name.endswith(tuple(end + leaf for end in _EMBEDDINGS))]
    if len(twins) != 1 or read_header(tensors[head])[head] != read_header(tensors[twins[0]])[twins[0]]:
        return False
    with plain_name(tensors[head]) as one, plain_name(tensors[twins[0]]) as other:
        first: Any = mx.load(one)  # lazy: only this tensor of each file is read
        second: Any = mx.load(other)
        return bool(mx.array_equal(first[head], second[twins[0]]).item())
