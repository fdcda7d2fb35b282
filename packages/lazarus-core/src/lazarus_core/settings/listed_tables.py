"""Problems inside a list of tables, which is one setting: the place in the list, and the nearest name."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError

from lazarus_core.canonical import JSON
from lazarus_core.reasons import plain_reason
from lazarus_core.settings.schema import Setting, dotted, members


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
    model = _table_of(setting.annotation)
    location = list(map(str, detail["loc"]))
    first = next((at for at, part in enumerate(location) if part.isdecimal()), None)
    if model is None or first is None:
        return None
    place = dotted((*setting.key, *location[first:]))
    said = plain_reason(str(detail["msg"]))
    said = f"`{place}` {said[:1].lower()}{said[1:]}"
    if detail["type"] == "extra_forbidden" and len(location) == first + 2:
        near = get_close_matches(location[-1], model.model_fields, n=1)
        said += f"; did you mean `{near[0]}`?" if near else f"; the settings there are {', '.join(model.model_fields)}"
    return said


def _shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _table_of(annotation: Any) -> type[BaseModel] | None:
    """The model of the elements of a list."""
    for part in members(annotation):
        if get_origin(part) in (tuple, list):
            inner = next(iter(members(get_args(part)[0])), None)
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                return inner
    return None
