"""Problems inside a list of tables, which is one setting: the place in the list, and the nearest name."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError

from lazarus_core.canonical import JSON
from lazarus_core.reasons import plain_reason
from lazarus_core.settings.schema import Key, Setting, dotted, members


def first_causes(error: ValidationError) -> list[JSON]:
    """Pydantic's errors, without those that a list is too short because its elements have errors."""
    found = [cast("JSON", each) for each in error.errors()]
    return [
        each
        for each in found
        if each["type"] != "too_short"
        or not any(len(other["loc"]) > len(each["loc"]) == _shared(other["loc"], each["loc"]) for other in found)
    ]


def problem_in_table(setting: Setting, detail: JSON) -> str | None:
    """One of pydantic's errors inside a list of tables, in words; None for another setting, or the list itself.

    Args:
        setting: The setting.
        detail: The error, as pydantic describes it.
    """
    models = _tables_of(setting.annotation)
    location = list(map(str, detail["loc"]))
    first = next((at for at, part in enumerate(location) if part.isdecimal()), None)
    if not models or first is None:
        return None
    inner, table = location[first + 1 :], models[0]
    if len(models) > 1 and inner:  # the first part is the tag of the table
        table = next((each for each in models if _has_tag(each, inner[0])), models[0])
        inner = inner[1:]
    place = (*setting.key, location[first], *inner)
    if str(detail["type"]).startswith("union_tag"):
        return _about_tag(place, detail)
    said = plain_reason(str(detail["msg"]))
    said = f"`{dotted(place)}` {said[:1].lower()}{said[1:]}"
    if detail["type"] == "extra_forbidden" and len(inner) == 1:
        near = get_close_matches(inner[0], table.model_fields, n=1)
        said += f"; did you mean `{near[0]}`?" if near else f"; the settings there are {', '.join(table.model_fields)}"
    return said


def _about_tag(place: Key, detail: JSON) -> str:
    """Words for a table whose discriminator is missing or unknown."""
    about: JSON = detail["ctx"]
    name = dotted((*place, str(about["discriminator"]).strip("'")))
    if "tag" not in about:
        return f"`{name}` is missing"
    known = str(about["expected_tags"]).replace("'", "")
    return f"`{name}` is {about['tag']!r}: give one of {known}"


def _has_tag(model: type[BaseModel], tag: str) -> bool:
    return any(tag in get_args(each.annotation) for each in model.model_fields.values())


def _shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _tables_of(annotation: Any) -> list[type[BaseModel]]:
    """The models of the elements of a list; none if an element is no table."""
    for part in members(annotation):
        if get_origin(part) in (tuple, list):
            inner = members(get_args(part)[0])
            found = [each for each in inner if isinstance(each, type) and issubclass(each, BaseModel)]
            return found if len(found) == len(inner) else []
    return []
