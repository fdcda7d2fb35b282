"""Parameters and layers of a model by their Hugging Face names: MLX's nested trees as flat, sorted dictionaries."""

from collections.abc import Mapping
from typing import Any, cast

from mlx import utils

from lazarus_models.backend import mx, nn


def evaluate(tree: Any) -> None:
    """Computes every array of a tree (`mx.eval`)."""
    mx.eval(tree)  # pyright: ignore[reportUnknownMemberType] (the stub leaves `*args` untyped)


def begin(tree: Any) -> None:
    """Starts to compute every array of a tree, without waiting (`mx.async_eval`)."""
    mx.async_eval(tree)  # pyright: ignore[reportUnknownMemberType] (the stub leaves `*args` untyped)


def integers(array: mx.array) -> list[int]:
    """The elements of an integer array with one axis."""
    return cast("list[int]", array.tolist())


def flatten(tree: Any) -> dict[str, mx.array]:
    """The arrays of a nested tree by dotted name, sorted by name."""
    pairs = cast("list[tuple[str, mx.array]]", utils.tree_flatten(tree))  # pyright: ignore[reportUnknownMemberType] (`is_leaf` untyped)
    return dict(sorted(pairs))


def unflatten(named: Mapping[str, mx.array | nn.Module]) -> dict[str, Any]:
    """The nested tree of named arrays or layers; the inverse of `flatten`."""
    return cast("dict[str, Any]", utils.tree_unflatten(list(named.items())))


def weights(model: nn.Module) -> dict[str, mx.array]:
    """Every parameter by its Hugging Face name, sorted by name."""
    return flatten(model.parameters())


def set_weights(model: nn.Module, tensors: Mapping[str, mx.array]) -> None:
    """Replaces parameters by name and evaluates the model.

    Tensors become row-contiguous: a kernel that writes in place would otherwise change a copy.

    Args:
        model: Changed in place. Parameters that are not in `tensors` stay.
        tensors: New values by name, of the shapes of the parameters.
    """
    model.load_weights([(name, mx.contiguous(tensor)) for name, tensor in tensors.items()], strict=False)
    evaluate(model.parameters())


def parameter_count(model: nn.Module) -> int:
    """The number of parameters; tied weights count once."""
    return sum(tensor.size for tensor in weights(model).values())


def layer_count(model: nn.Module) -> int:
    """The number of blocks."""
    return len(cast("list[nn.Module]", model.layers))  # pyright: ignore[reportUnknownMemberType] (an attribute of the model)


def modules(model: nn.Module) -> dict[str, nn.Module]:
    """Every layer and container by name, sorted by name."""
    return dict(sorted(cast("list[tuple[str, nn.Module]]", model.named_modules())))


def replace_modules(model: nn.Module, replacements: Mapping[str, nn.Module]) -> None:
    """Replaces layers by name.

    Args:
        model: Changed in place.
        replacements: New layers by dotted name.
    """
    model.update_modules(unflatten(replacements))  # pyright: ignore[reportUnknownMemberType] (`dict` without its types)


def part(module: nn.Module, path: str) -> Any:
    """The layer or array at a dotted name.

    Args:
        module: The outer layer.
        path: Dotted name in it, such as `self_attn.q_proj`.
    """
    found: Any = module
    for name in path.split("."):
        found = found[int(name) if name.isdecimal() else name]
    return found


def put(module: nn.Module, path: str, new: nn.Module) -> None:
    """Sets a layer at a dotted name, and creates missing containers.

    Args:
        module: The outer layer, changed in place.
        path: Dotted name in it, such as `block_sparse_moe.router.layer`.
        new: The layer.
    """
    *outer, last = path.split(".")
    for name in outer:
        if name not in module:
            module[name] = nn.Module()
        module = cast("nn.Module", module[name])  # pyright: ignore[reportUnknownMemberType] (modules are untyped dicts)
    module[last] = new
