"""What a model remembers of a text: its layers' caches and the tokens they have read, in memory and in a file."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Self, cast

from lazarus_core.atomic import whole_file
from lazarus_core.strict_json import MalformedJson, parse_json
from lazarus_models.backend import mx
from lazarus_models.components.caches import PartedCache
from lazarus_models.errors import GenerationError
from lazarus_models.mlx_lm import import_mlx_lm
from lazarus_models.tensor_files import plain_name
from lazarus_models.trees import begin, evaluate

PREFILL = 512
"""Tokens of a prompt read at once: enough to keep the matrix products busy, few enough for memory."""


@dataclass
class PromptCache:
    """A text that a model has read."""

    layers: list[Any]
    """A cache a layer, of mlx-lm's kinds."""
    ids: list[int] = field(default_factory=list[int])
    """The tokens read, in their order."""

    @classmethod
    def empty(cls, model: Any) -> Self:
        """A model that has read nothing."""
        return cls(model.make_cache())

    def read(self, model: Any, ids: Sequence[int]) -> mx.array:
        """Reads on, and gives the logits (V,) after the last token, yet to be computed; the others' never are."""
        last = mx.zeros(0)
        for start in range(0, len(ids), PREFILL):
            last = model.body(mx.array([ids[start : start + PREFILL]]), self.layers)[:, -1:]
            if start + PREFILL < len(ids):
                evaluate([layer.state for layer in self.layers])
        self.ids += ids
        return model.head(last)[0, -1]

    def rest(self, ids: Sequence[int]) -> list[int]:
        """The tokens of a prompt that are yet to be read, given that it begins with what was; else raises.

        Raises:
            GenerationError: It begins otherwise, or has nothing more to read.
        """
        if list(ids[: len(self.ids)]) != self.ids or len(ids) <= len(self.ids):
            raise GenerationError(
                f"the prompt of {len(ids)} tokens does not go on from the cache's {len(self.ids)}; "
                "start with an empty cache",
                "LM-E145",
            )
        return list(ids[len(self.ids) :])

    def go_back(self, model: Any, ids: Sequence[int]) -> None:
        """Forgets what a prompt does not begin with, so that the rest of it can be read on.

        Keys and values are cut; states and full windows cannot be, and are all forgotten.
        """
        same = next((place for place, (a, b) in enumerate(zip(self.ids, ids, strict=False)) if a != b), len(self.ids))
        shared = min(same, len(ids) - 1)  # the last token is read for its logits
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
        """Refuses a model whose layers keep something else, such as another model's file.

        Raises:
            GenerationError: The layers differ in number or kind.
        """
        own, wanted = list(map(type, self.layers)), list(map(type, model.make_cache()))
        if own != wanted:
            raise GenerationError(
                f"the cache is of another model: it has {len(own)} layers of other kinds than this model's {len(wanted)}; "
                "start with an empty cache",
                "LM-E145",
            )

    def save(self, path: Path | str) -> None:
        """Writes a safetensors file that `load` reads, beside the target first."""
        path = Path(path)
        with whole_file(path) as file:
            import_mlx_lm("models.cache").save_prompt_cache(file, self.layers, {"ids": json.dumps(self.ids)})

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Reads what `save` wrote; for the model that wrote it.

        Raises:
            GenerationError: No such file, or no cache.
        """
        path = Path(path)
        try:
            with plain_name(path) as name:
                layers, metadata = import_mlx_lm("models.cache").load_prompt_cache(name, return_metadata=True)
                evaluate([layer.state for layer in layers])
            ids = _token_ids(parse_json(metadata["ids"]))
        except (MalformedJson, OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise GenerationError(
                f"{path}: no prompt cache ({error}); write one with `PromptCache.save`", "LM-E146"
            ) from error
        return cls(layers, ids)


def _token_ids(said: Any) -> list[int]:
    """What a file names as the tokens read."""
    if not isinstance(said, list):
        raise TypeError("`ids` is no list")
    ids = cast("list[Any]", said)
    if not all(type(token) is int and token >= 0 for token in ids):
        raise ValueError("`ids` holds a value that is not a token id")
    return ids


def read_tokens(model: Any, tokens: mx.array, layers: Sequence[Any]) -> mx.array:
    """Reads one more token of each text, (B,), and gives the logits (B, V) after it, yet to be computed.

    On a CPU MLX takes some hundred operations and then has the program wait; begun block by block, a step is computed
    while the rest of it is written down.
    """
    on_cpu = mx.default_device().type == mx.cpu
    states = model.body(tokens[:, None], layers, begin) if on_cpu else model.body(tokens[:, None], layers)
    return model.head(states[:, -1])


def read_texts(model: Any, texts: Sequence[Sequence[int]]) -> Iterator[tuple[PromptCache, mx.array]]:
    """Reads new texts: for each what the model remembers, and the logits (V,) after it, yet to be computed.

    Texts of `PREFILL` tokens together stand in one row: eight of 35 tokens take 0.7 of the time. Layers that look along
    a row go from text to text, so that each is read as it is alone, whatever the family.
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
