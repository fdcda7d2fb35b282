"""Freezes parameters by patterns of their names."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from lazarus_core.printable import listed
from lazarus_models.backend import nn
from lazarus_models.trees import flatten, modules
from lazarus_train.errors import SetupError


def freeze_matching(model: nn.Module, patterns: Sequence[str]) -> None:
    """Freezes the parameters whose names match a pattern such as `*embed*` or `model.layers.[0-3].*`.

    Args:
        model: The model; its trainable parameters are changed in place.
        patterns: Shell patterns of dotted parameter names.

    Raises:
        SetupError: A pattern matches no trainable parameter, or no trainable parameter is left.
    """
    names = list(flatten(model.trainable_parameters()))
    for pattern in patterns:
        matching = [name for name in names if fnmatchcase(name, pattern)]
        if not matching:
            raise SetupError(
                f"`freeze`: {pattern!r} matches no trainable parameter; they have names such as `{names[0]}`", "LR-E121"
            )
        owners = modules(model)
        for name in matching:
            owner, _, leaf = name.rpartition(".")
            owners[owner].freeze(recurse=False, keys=leaf)
    if not flatten(model.trainable_parameters()):
        raise SetupError(f"`freeze` {listed(patterns)} leaves no trainable parameter", "LR-E122")
