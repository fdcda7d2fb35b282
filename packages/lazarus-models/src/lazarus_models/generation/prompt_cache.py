"""Prompt caches: the caches of a model's layers with the tokens that they have read, in memory and in a file."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Self, cast

from lazarus_core.atomic import whole_file
from lazarus_core.strict_json import MalformedJson, parse_json
from lazarus_models.backend import mx, on_cpu
from lazarus_models.components.caches import PartedCache
from lazarus_models.errors import GenerationError
from lazarus_models.generation.cache_files import read_caches, write_caches
from lazarus_models.tensor_files import plain_name
from lazarus_models.trees import begin, evaluate

PREFILL = 512
"""Tokens of a prompt read at once: enough to keep the matrix products busy, few enough for memory."""


@dataclass(repr=False)
class PromptCache:
    """The state of a model after reading a text."""

    layers: list[Any]
    """One cache a layer."""
    ids: list[int] = field(default_factory=list[int])
    """The tokens read, in order."""

    def __repr__(self) -> str:
        return f"PromptCache({len(self.ids)} tokens, {len(self.layers)} layers)"

    @classmethod
    def empty(cls, model: Any) -> Self:
        """The state of a model before the first token."""
        return cls(model.make_cache())

    def read(self, model: Any, ids: Sequence[int]) -> mx.array:
        """Reads more tokens.

        Args:
            model: The model of this cache.
            ids: At least one token id.

        Returns:
            The logits after the last token, (V,), not yet evaluated. Other logits are not computed.
        """
        last = mx.zeros(0)
        for start in range(0, len(ids), PREFILL):
            last = model.body(mx.array([ids[start : start + PREFILL]]), self.layers)[:, -1:]
            if start + PREFILL < len(ids):
                evaluate([layer.state for layer in self.layers])
        self.ids += ids
        return model.head(last)[0, -1]

    def rest(self, ids: Sequence[int]) -> list[int]:
        """The tokens of a prompt that have not been read.

        Raises:
            GenerationError: The prompt does not begin with the tokens read, or has no more tokens.
        """
        if list(ids[: len(self.ids)]) != self.ids or len(ids) <= len(self.ids):
            raise GenerationError(
                f"the prompt of {len(ids)} tokens does not continue the cache's {len(self.ids)}; "
                "start with an empty cache",
                "LM-E145",
            )
        return list(ids[len(self.ids) :])

    def go_back(self, model: Any, ids: Sequence[int]) -> None:
        """Removes the tokens after the longest common prefix with a prompt.

        Keys and values are trimmed. States and full windows cannot be trimmed: then the whole cache is cleared.

        Args:
            model: The model of this cache.
            ids: Token ids of the prompt.
        """
        same = next((place for place, (a, b) in enumerate(zip(self.ids, ids, strict=False)) if a != b), len(self.ids))
        shared = min(same, len(ids) - 1)  # the last token must be read again for its logits
        surplus = len(self.ids) - shared
        if not surplus:
            return
        if all(layer.is_trimmable() for layer in self.layers):
            for layer in self.layers:
                layer.trim(surplus)
            del self.ids[shared:]
        else:
            self.layers, self.ids = model.make_cache(), []

    def check_model(self, model: Any) -> None:
        """Refuses a model with other kinds of layers, for example for the file of another model.

        Raises:
            GenerationError: The caches differ in number or kind.
        """
        own, wanted = list(map(type, self.layers)), list(map(type, model.make_cache()))
        if own != wanted:
            raise GenerationError(
                f"the cache belongs to another model: its {len(own)} layers are not of this model's {len(wanted)} kinds; "
                "start with an empty cache",
                "LM-E145",
            )

    def save(self, path: Path | str) -> None:
        """Writes a safetensors file for `load`; an existing file is replaced completely or not at all."""
        path = Path(path)
        with whole_file(path) as file:
            write_caches(file, self.layers, {"ids": json.dumps(self.ids)})

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Reads a file that `save` wrote, for the same model.

        Raises:
            GenerationError: There is no such file, or it is not a prompt cache.
        """
        path = Path(path)
        try:
            with plain_name(path) as name:
                layers, metadata = read_caches(name)
                evaluate([layer.state for layer in layers])
            ids = _token_ids(parse_json(metadata["ids"]))
        except (MalformedJson, OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise GenerationError(
                f"{path}: not a prompt cache ({error}); write one with `PromptCache.save`", "LM-E146"
            ) from error
        return cls(layers, ids)


def _token_ids(said: Any) -> list[int]:
    """The tokens read, from a file's metadata."""
    if not isinstance(said, list):
        raise TypeError("`ids` is not a list")
    ids = cast("list[Any]", said)
    if not all(type(token) is int and token >= 0 for token in ids):
        raise ValueError("`ids` contains a value that is not a token id")
    return ids


def read_tokens(model: Any, tokens: mx.array, layers: Sequence[Any]) -> mx.array:
    """Reads one more token of each text.

    On a CPU, MLX queues about a hundred operations and then blocks. So the evaluation starts block by block, while Python
    builds the rest of the graph.

    Args:
        model: A `Decoder`.
        tokens: The tokens, integer, (B,).
        layers: One cache a layer, of a batch of B texts.

    Returns:
        The logits after the tokens, (B, V), not yet evaluated.
    """
    states = model.body(tokens[:, None], layers, begin) if on_cpu() else model.body(tokens[:, None], layers)
    return model.head(states[:, -1])


def read_texts(model: Any, texts: Sequence[Sequence[int]]) -> Iterator[tuple[PromptCache, mx.array]]:
    """Reads new texts.

    Texts with at most `PREFILL` tokens in total are concatenated in one row: eight texts of 35 tokens then take 0.7 of the
    time. Mixers are applied to each text separately, so the results equal those of single texts in every family.

    Args:
        model: A `Decoder`.
        texts: Token ids of each text.

    Returns:
        Cache and logits (V,) after each text; the logits are not yet evaluated.
    """
    row: list[Sequence[int]] = []
    for ids in texts:
        if row and sum(map(len, row)) + len(ids) > PREFILL:
            yield from _read_row(model, row)
            row = []
        row.append(ids)
    yield from _read_row(model, row)


def _read_row(model: Any, texts: Sequence[Sequence[int]]) -> Iterator[tuple[PromptCache, mx.array]]:
    if len(texts) < 2:
        yield from ((cache := PromptCache.empty(model), cache.read(model, ids)) for ids in texts)
        return
    caches = [PromptCache(model.make_cache(), list(ids)) for ids in texts]
    lengths = tuple(map(len, texts))
    layers = [PartedCache(lengths, parts) for parts in zip(*(cache.layers for cache in caches), strict=True)]
    read = model.body(mx.array([[token for ids in texts for token in ids]]), layers)
    ends = mx.array(list(accumulate(lengths))) - 1
    yield from zip(caches, model.head(read[0, ends]), strict=True)
