"""The file of a prompt cache: safetensors in the layout of mlx-lm's `save_prompt_cache`, which mlx-lm opens too.

The arrays are the flattened `state` of every layer's cache. Numbers are stored as arrays of one element and None as an
empty array; the header lists these places. It also holds the caller's metadata and the class of each layer's cache.
"""

from collections.abc import Mapping, Sequence
from typing import IO, Any, cast

from mlx import utils

from lazarus_models.backend import mx
from lazarus_models.components.kv_cache import KVCache, RotatingKVCache
from lazarus_models.components.state_cache import ArraysCache

_CLASSES: dict[str, Any] = {
    "KVCache": KVCache,
    "RotatingKVCache": lambda: RotatingKVCache(max_size=1),
    "ArraysCache": lambda: ArraysCache(size=0),
}


def write_caches(file: IO[bytes], layers: Sequence[Any], metadata: Mapping[str, str]) -> None:
    """Writes the caches of a model's layers.

    Args:
        file: Open for writing.
        layers: One cache a layer.
        metadata: Texts for the header.
    """
    scalars: list[Any] = [""]  # never empty: `tree_flatten` drops empty lists
    arrays: dict[str, mx.array] = {}
    for place, value in _flat([layer.state for layer in layers]):
        if not isinstance(value, mx.array):
            scalars.append((place, "none" if value is None else "scalar"))
            value = mx.array([]) if value is None else mx.array(value)
        arrays[place] = value
    classes = [type(layer).__name__ for layer in layers]
    header = dict(_flat([dict(metadata), classes, scalars]))
    mx.save_safetensors(cast("str", file), arrays, header)  # pyright: ignore[reportUnknownMemberType] (untyped in MLX)


def read_caches(name: str) -> tuple[list[Any], dict[str, str]]:
    """The caches in a file, yet to be evaluated, and its metadata.

    Raises:
        OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError: The file is not such a file.
    """
    loaded: Any = mx.load(name, return_metadata=True)
    arrays: dict[str, Any] = loaded[0]
    header: Any = utils.tree_unflatten(list(loaded[1].items()))
    metadata, classes, scalars = header
    for place, kind in scalars[1:]:
        arrays[place] = None if kind == "none" else arrays[place].item()
    states: Any = utils.tree_unflatten(list(arrays.items()))
    layers: list[Any] = []
    for kind, state in zip(classes, states, strict=True):
        layer = _CLASSES[kind]()
        layer.state = state
        layers.append(layer)
    return layers, metadata


def _flat(tree: Any) -> list[tuple[str, Any]]:
    return cast("list[tuple[str, Any]]", utils.tree_flatten(tree))  # pyright: ignore[reportUnknownMemberType] (`is_leaf` untyped)
