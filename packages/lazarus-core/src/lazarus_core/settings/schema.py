"""The settings of a pydantic model as a flat list: key paths, types in words, ranges, help from the fields' docstrings.

Files, `--set` and flags are all read by this one description. A field whose type is a model, or a union of models told apart
by a discriminator, is a table, and so is a base class whose method `variants` lists its models; every other field is a setting.
"""

import re
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

_BOUNDS = (Gt, Ge, Lt, Le, MinLen)
Key = tuple[str, ...]
"""Names from the outermost table to the setting: `("optimizer", "learning_rate")`."""
ROOT: Key = ()


@dataclass(frozen=True)
class Setting:
    """A field of a model.

    Args:
        key: Where it is.
        annotation: Its type, without the metadata of the field.
        bounds: Limits of its value (`annotated_types`).
        help: First sentence of the field's docstring.
        default: Default in words; None where there is none to show.
        models: The models of a table; empty for a setting.
        tag: Name of the discriminator of a table with several models.
        is_required: Whether the model needs a value.
    """

    key: Key
    annotation: Any
    bounds: tuple[Any, ...]
    help: str
    default: str | None
    models: tuple[type[BaseModel], ...]
    tag: str | None
    is_required: bool

    @property
    def is_table(self) -> bool:
        """Whether it holds settings of its own."""
        return bool(self.models)

    @property
    def is_map(self) -> bool:
        """Whether its value has names that the model does not fix."""
        return not self.is_table and any(get_origin(each) is dict for each in members(self.annotation))

    @property
    def is_list(self) -> bool:
        """Whether its value is a list."""
        return any(get_origin(each) in (tuple, list) for each in members(self.annotation))

    @property
    def allows_null(self) -> bool:
        """Whether the value may be null."""
        return types.NoneType in _parts(self.annotation)

    def model_of(self, tag: Any) -> type[BaseModel] | None:
        """The model of a table by its discriminator's value; the only one where there is no discriminator."""
        if self.tag is None:
            return self.models[0]
        return next((each for each in self.models if tag in _values(each.model_fields[self.tag].annotation)), None)

    @property
    def tags(self) -> list[Any]:
        """Values of the discriminator."""
        return (
            []
            if self.tag is None
            else [tag for each in self.models for tag in _values(each.model_fields[self.tag].annotation)]
        )


@dataclass(frozen=True)
class Schema:
    """Every setting and table of a model, by key, in the order of the fields.

    Args:
        model: The model.
        settings: By key. The root is not among them.
    """

    model: type[BaseModel]
    settings: Mapping[Key, Setting] = field(repr=False)

    def find(self, key: Key) -> Setting | None:
        """The setting of a key, or the map that a longer key leads into."""
        for length in range(len(key), 0, -1):
            found = self.settings.get(key[:length])
            if found is not None:
                return found if length == len(key) or found.is_map else None
        return None

    def leaves(self) -> Iterator[Setting]:
        """The settings without the tables."""
        return (each for each in self.settings.values() if not each.is_table)

    def near(self, key: Key) -> Key | None:
        """The key that was probably meant: a similar name in the same table, else the same or a similar name in another."""
        from difflib import get_close_matches

        table = key[:-1]
        here = {each[-1]: each for each in self.settings if each[:-1] == table}
        found = get_close_matches(key[-1], here, n=1, cutoff=0.6)
        if found:
            return here[found[0]]
        anywhere: dict[str, Key] = {}
        for each in self.settings:
            anywhere.setdefault(each[-1], each)
        found = get_close_matches(key[-1], anywhere, n=1, cutoff=0.85)
        return anywhere[found[0]] if found else None


@cache
def schema_of(model: type[BaseModel]) -> Schema:
    """The settings of a model."""
    return Schema(model, dict(_settings_of((model,), ROOT)))


def dotted(key: Key) -> str:
    """A key as it is written in a message and in TOML."""
    return ".".join(name if re.fullmatch(r"[\w-]+", name, re.ASCII) else f'"{name}"' for name in key)


def members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a type, without None and without metadata."""
    return tuple(each for each in _parts(annotation) if each is not types.NoneType)


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value has the type of a setting. Ranges are not checked.

    Args:
        value: Value from TOML or JSON.
        annotation: Annotation of the setting's field. One member of a union is enough.
    """
    return any(_is_of(value, each) for each in _parts(annotation))


def expected(setting: Setting) -> str:
    """What a value has to be, in words: `a number above 0`."""
    words = _words(setting.annotation)
    bounds = (*setting.bounds, *_bounds_of(setting.annotation))
    limits = " and ".join(_limit(each) for each in bounds if not isinstance(each, MinLen))
    count = next((f", {each.min_length} or more of them" for each in bounds if isinstance(each, MinLen)), "")
    return f"{words} {limits}{count}" if limits else f"{words}{count}"


def first_sentence(text: str | None) -> str:
    """The first sentence of a docstring, on one line."""
    line = " ".join((text or "").split())
    return re.split(r"(?<=[.:;]) (?=Default: )|(?<=\.) (?=[A-Z`])", line, maxsplit=1)[0]


def _settings_of(models: tuple[type[BaseModel], ...], at: Key) -> Iterator[tuple[Key, Setting]]:
    seen: set[str] = set()
    for model in models:
        for name, info in model.model_fields.items():
            if name in seen:
                continue
            seen.add(name)
            setting = _setting(info, (*at, name))
            if len(models) > 1 and _is_tag(name, models):
                setting = _with_all_tags(setting, name, models)
            yield setting.key, setting
            if setting.is_table:
                yield from _settings_of(setting.models, setting.key)


def _is_tag(name: str, models: tuple[type[BaseModel], ...]) -> bool:
    return all(name in each.model_fields and _values(each.model_fields[name].annotation) for each in models)


def _with_all_tags(setting: Setting, name: str, models: tuple[type[BaseModel], ...]) -> Setting:
    from dataclasses import replace

    tags = tuple(tag for each in models for tag in _values(each.model_fields[name].annotation))
    return replace(setting, annotation=Literal[tags], default=None)


def _setting(info: FieldInfo, key: Key) -> Setting:
    found = (each for each in members(info.annotation) if isinstance(each, type) and issubclass(each, BaseModel))
    tables = tuple(model for each in found for model in _variants(each))
    tag = info.discriminator if isinstance(info.discriminator, str) else None
    if tag is None and len(tables) > 1:
        shared = [name for name in tables[0].model_fields if _is_tag(name, tables)]
        tag = shared[0] if shared else None
    bounds = tuple(each for each in info.metadata if isinstance(each, _BOUNDS))
    text = " ".join((info.description or "").split())
    said = re.search(r"Default: (.+?)\.(?: |$)", text)
    default = said[1] if said else _shown_default(info)
    return Setting(key, info.annotation, bounds, first_sentence(text), default, tables, tag, info.is_required())


def _variants(model: type[BaseModel]) -> tuple[type[BaseModel], ...]:
    """The models that a field of this type accepts: those of the type's own class method `variants`, else the model."""
    if "variants" not in vars(model):
        return (model,)
    found: tuple[type[BaseModel], ...] = cast("Any", model).variants()
    return found


def _shown_default(info: FieldInfo) -> str | None:
    value = info.default
    if info.is_required() or info.default_factory is not None or isinstance(value, BaseModel):
        return None
    if value is None or value is False or value in ((), ""):
        return None
    return f"{value:g}" if isinstance(value, float) else str(value)


def _parts(annotation: Any) -> tuple[Any, ...]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _parts(get_args(annotation)[0])
    if origin is Union or origin is types.UnionType:
        return tuple(part for each in get_args(annotation) for part in _parts(each))
    return (annotation,)


def _values(annotation: Any) -> tuple[Any, ...]:
    """The values of a `Literal`; none for another type."""
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _bounds_of(annotation: Any) -> tuple[Any, ...]:
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *metadata = get_args(annotation)
        found = [bound for each in metadata for bound in (each.metadata if isinstance(each, FieldInfo) else [each])]
        return (*(each for each in found if isinstance(each, _BOUNDS)), *_bounds_of(base))
    if origin is Union or origin is types.UnionType:
        return tuple(bound for each in get_args(annotation) for bound in _bounds_of(each))
    return ()


def _is_of(value: Any, part: Any) -> bool:
    origin = get_origin(part)
    if origin is Literal:
        return value in get_args(part) and not isinstance(value, bool)
    if origin in (tuple, list):
        inner = get_args(part)[0]
        return isinstance(value, list | tuple) and all(fits(each, inner) for each in cast("list[Any]", value))
    if origin is dict:
        inner = get_args(part)[1]
        return isinstance(value, dict) and all(fits(each, inner) for each in cast("dict[str, Any]", value).values())
    if part is bool or part is int or part is float:
        kinds = {bool: bool, int: int, float: int | float}
        return isinstance(value, kinds[part]) and (part is bool or not isinstance(value, bool))
    if part is str:
        return isinstance(value, str)
    if part is Path:
        return isinstance(value, str | Path) and value != ""
    return value is None if part is types.NoneType else True


_SIMPLE = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
_PLURAL = {bool: "booleans", int: "whole numbers", float: "numbers", str: "texts", Path: "paths"}


def _words(annotation: Any) -> str:
    found: list[str] = []
    for part in members(annotation):
        origin, inner = get_origin(part), get_args(part)
        if origin is Literal:
            found.append(f"one of {', '.join(map(str, inner))}")
        elif origin in (tuple, list):
            found.append(f"a list of {_plural(inner[0])}")
        elif origin is dict:
            found.append(f"a table of {_plural(inner[1])}")
        else:
            found.append(_SIMPLE.get(part, "a table"))
    return " or ".join(found)


def _plural(annotation: Any) -> str:
    parts = members(annotation)
    if len(parts) == 1 and get_origin(parts[0]) is Literal:
        return f"values out of {', '.join(map(str, get_args(parts[0])))}"
    words = _PLURAL.get(parts[0], "values") if len(parts) == 1 else "values"
    limits = " and ".join(_limit(each) for each in _bounds_of(annotation))
    return f"{words} {limits}" if limits else words


def _limit(bound: Any) -> str:
    match bound:
        case Gt():
            return f"above {bound.gt:.17g}"
        case Ge():
            return f"of at least {bound.ge:.17g}"
        case Lt():
            return f"below {bound.lt:.17g}"
        case _:
            return f"of at most {bound.le:.17g}"


def leaves(settings: BaseModel, at: Key = ()) -> Iterable[tuple[Key, Any]]:
    """Key and JSON value of every setting. A table that is None counts as one setting.

    Args:
        settings: The settings. Tables are nested models.
        at: Key of `settings` in a larger model; empty for the whole.
    """
    values = settings.model_dump(mode="json")
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, (*at, name))
        else:
            yield (*at, name), values[name]
