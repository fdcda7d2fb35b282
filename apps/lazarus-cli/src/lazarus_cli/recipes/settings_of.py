"""Settings of a stage made from those of a package: the same fields, without what other stages give."""

from collections.abc import Collection
from copy import copy
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, create_model

from lazarus_cli.recipes.stage import MADE, NO_SOURCE, StageSettings

Model = TypeVar("Model", bound=BaseModel)


def fields_of(model: type[BaseModel], without: Collection[str] = ()) -> dict[str, Any]:
    """Fields of a model for `create_model`, with their types, limits, defaults and help.

    Args:
        model: Settings of a package.
        without: Names that are left out.
    """
    return {name: (info.annotation, copy(info)) for name, info in model.model_fields.items() if name not in without}


def stage_settings(
    kind: str, base: type[StageSettings], *models: type[BaseModel], without: Collection[str] = (), **more: Any
) -> Any:
    """The settings of a type of stage: those of `base` and the fields of settings of packages.

    Args:
        kind: The stage's type.
        base: The stage's own settings.
        models: Settings of packages.
        without: Fields of them that are left out. Fields of `base` and `more` are left out as well.
        more: Further fields, as for `create_model`.
    """
    hidden = {*without, *base.model_fields, *more}
    fields: dict[str, Any] = {name: field for model in models for name, field in fields_of(model, hidden).items()}
    tag: Any = Literal[kind]
    name = f"{kind.title()}Settings"
    return create_model(name, __base__=base, __cls_kwargs__=NO_SOURCE, type=(tag, kind), **more, **fields)


def table(model: type[Model], without: Collection[str] = (), **fields: Any) -> Any:
    """A table of settings: a model with some fields left out and others added.

    Args:
        model: Settings of a package.
        without: Names that are left out.
        fields: Further fields, as for `create_model`.
    """
    fields |= fields_of(model, {*without, *fields})
    return create_model(model.__name__, __config__=MADE, **fields)


def members_of(settings: BaseModel, model: type[BaseModel]) -> dict[str, Any]:
    """The values that a model of a package has of a stage's settings, by name.

    Args:
        settings: Settings of a stage.
        model: Settings of a package.
    """
    return {name: getattr(settings, name) for name in type(settings).model_fields if name in model.model_fields}
