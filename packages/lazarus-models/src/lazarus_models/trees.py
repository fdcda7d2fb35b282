"""A model's parameters and layers by their Hugging Face names: MLX's nested trees, made flat, ordered and typed."""

from collections.abc import Mapping
from typing import Any, cast

from mlx import utils

from lazarus_models.backend import mx, nn


def evaluate(tree: Any) -> None:
    """Computes every array of a tree now."""
    mx.eval(tree)  # pyright: ignore[reportUnknownMemberType] (the stub leaves `*args` untyped)


def begin(tree: Any) -> None:
    """Has every array of a tree computed while the program goes on."""
    mx.async_eval(tree)  # pyright: ignore[reportUnknownMemberType] (the stub leaves `*args` untyped)


def integers(array: mx.array) -> list[int]:
    """The numbers of an array of one axis."""
    return cast("list[int]", array.tolist())


def flatten(tree: Any) -> dict[str, mx.array]:
    """Name -> array of a nested tree, in the order of the names."""
    pairs = cast("list[tuple[str, mx.array]]", utils.tree_flatten(tree))  # pyright: ignore[reportUnknownMemberType] (`is_leaf` untyped)
    return dict(sorted(pairs))


def unflatten(named: Mapping[str, mx.array | nn.Module]) -> dict[str, Any]:
    """The nested tree of named arrays or layers; undoes `flatten`."""
    return cast("dict[str, Any]", utils.tree_unflatten(list(named.items())))


def weights(model: nn.Module) -> dict[str, mx.array]:
    """Every parameter by its Hugging Face name, in the order of the names."""
    return flatten(model.parameters())


def set_weights(model: nn.Module, tensors: Mapping[str, mx.array]) -> None:
    """Puts tensors in their places by name, row-contiguous in memory, leaves the rest, and evaluates.

    Kernels that write in place on a CPU would change a copy of a transposed view.
    """
    model.load_weights([(name, mx.contiguous(tensor)) for name, tensor in tensors.items()], strict=False)
    evaluate(model.parameters())


def parameter_count(model: nn.Module) -> int:
    """How many numbers the model holds; tied weights count once."""
    return sum(tensor.size for tensor in weights(model).values())


def layer_count(model: nn.Module) -> int:
    """How many blocks the model has."""
    return len(cast("list[nn.Module]", model.layers))  # pyright: ignore[reportUnknownMemberType] (an attribute of the model)


def modules(model: nn.Module) -> dict[str, nn.Module]:
    """Every layer and container by name, in the order of the names."""
    return dict(sorted(cast("list[tuple[str, nn.Module]]", model.named_modules())))


def replace_modules(model: nn.Module, replacements: Mapping[str, nn.Module]) -> None:
    """Puts other layers in the places of named ones."""
    model.update_modules(unflatten(replacements))  # pyright: ignore[reportUnknownMemberType] (`dict` without its types)


def part(module: nn.Module, path: str) -> Any:
    """The layer or array at a dotted name, such as `self_attn.q_proj`."""
    found: Any = module
    for name in path.split("."):
        found = found[int(name) if name.isdecimal() else name]
    return found


def put(module: nn.Module, path: str, new: nn.Module) -> None:
    """Puts a layer at a dotted name, in containers made as needed."""
    *outer, last = path.split(".")
    for name in outer:
        if name not in module:
            module[name] = nn.Module()
        module = cast("nn.Module", module[name])  # pyright: ignore[reportUnknownMemberType] (modules are untyped dicts)
    module[last] = new
