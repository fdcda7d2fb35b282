"""What a model remembers of a text: its layers' caches and the tokens they have read, in memory and in a file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from lazarus_models.backend import mx
from lazarus_models.errors import GenerationError
from lazarus_models.mlx_lm import import_mlx_lm
from lazarus_models.parameters import evaluate
from lazarus_models.tensors import plain_name, replacing

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

    def save(self, path: Path | str) -> None:
        """Writes a safetensors file that `load` reads, beside the target first."""
        path = Path(path)
        with replacing(path) as beside, beside.open("wb") as file:
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
            ids: list[int] = json.loads(metadata["ids"])
        except (OSError, RuntimeError, ValueError, KeyError, IndexError) as error:
            raise GenerationError(
                f"{path}: no prompt cache ({error}); write one with `PromptCache.save`", "LM-E146"
            ) from error
        return cls(layers, ids)
