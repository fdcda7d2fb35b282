"""Families of other packages: entry points of the group `lazarus.families`, named by their `model_type`.

    [project.entry-points."lazarus.families"]
    toy = "toy_package:FAMILY"

A package is imported only when a config of its `model_type` is read. Its own errors name it.
"""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from lazarus_core.errors import LazarusError
from lazarus_core.plugins import PluginGroup, reason
from lazarus_models.config.architecture import DecoderConfig
from lazarus_models.config.huggingface import ModelConfig
from lazarus_models.errors import UnsupportedModel
from lazarus_models.families.family import Family
from lazarus_models.weight_mapping import Layout

if TYPE_CHECKING:
    from collections.abc import Generator


def _is_family(value: Any) -> bool:
    if not isinstance(value, Family):
        return False
    config: Any = value.config  # a package may not have been checked for types
    return isinstance(config, type) and issubclass(config, ModelConfig) and callable(value.architecture)


GROUP = PluginGroup(
    "lazarus.families",
    "family",
    "a `Family` of lazarus_models.families",
    _is_family,
    UnsupportedModel,
    "LM-E180",
)
_LOADED: dict[str, Family] = {}  # a family is asked for once a tensor
_OWNERS: dict[str, str] = {}


def outside_family(model_type: str) -> Family | None:
    """The family of another package; None if no package provides this `model_type`.

    Raises:
        UnsupportedModel: Several packages provide it, or it cannot be loaded.
    """
    if model_type not in _LOADED:
        found = GROUP.load(model_type)
        if found is None:
            return None
        owner = _OWNERS[model_type] = f"the family {model_type!r} of the package {found.package}"
        _LOADED[model_type] = _checked_family(found.value, owner)
    return _LOADED[model_type]


@contextmanager
def config_errors(model_type: str) -> "Generator[None]":
    """Names the package if its config fails; nothing changes for a family of this package and for wrong keys of a file.

    Raises:
        UnsupportedModel: The config failed.
    """
    try:
        yield
    except (LazarusError, ValidationError):
        raise
    except Exception as error:
        if model_type not in _OWNERS:
            raise
        raise _failure(_OWNERS[model_type], "config", reason(error)) from error


def _checked_family(family: Family, owner: str) -> Family:
    layout = family.layout
    return replace(
        family,
        architecture=_checked(family.architecture, DecoderConfig, owner, "architecture"),
        layout=layout if isinstance(layout, Layout) else _checked(layout, Layout, owner, "layout"),
    )


def _checked(function: Callable[[Any], Any], result: type, owner: str, member: str) -> Callable[[Any], Any]:
    """The function, with errors and results of another type as errors that name the package."""

    def checked(config: Any) -> Any:
        try:
            value = function(config)
        except LazarusError:
            raise
        except Exception as error:
            raise _failure(owner, member, reason(error)) from error
        if not isinstance(value, result):
            raise _failure(owner, member, f"it gave a {type(value).__name__}, not a {result.__name__}")
        return value

    return checked


def _failure(owner: str, member: str, why: str) -> UnsupportedModel:
    return UnsupportedModel(f"{owner} failed in its `{member}` ({why}): update or uninstall that package", "LM-E181")
