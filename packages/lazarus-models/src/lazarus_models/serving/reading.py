"""Reads the body of a request: strict JSON, then a pydantic model; the first error becomes the refusal."""

import reprlib
from collections.abc import Mapping
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any, TypeVar, cast

import jiter
from pydantic import BaseModel, ValidationError

from lazarus_models.serving.errors import Refused
from lazarus_models.serving.unsupported import NOT_SUPPORTED

_R = TypeVar("_R", bound=BaseModel)


def read_request(content: bytes, kind: type[_R]) -> _R:
    """Parses a request.

    Args:
        content: The body.
        kind: The model of the request.

    Raises:
        Refused: The body is not JSON, or a field is unknown, has the wrong type or is out of range.
    """
    said = _read_object(content)
    unknown = next((name for name in said if name not in kind.model_fields and name not in NOT_SUPPORTED), None)
    if unknown is not None:  # only the first is reported: a body has room for 100,000
        raise _unknown(unknown, kind)
    try:
        return kind.model_validate(said)
    except ValidationError as error:
        raise refusal(error, kind) from error


def _read_object(content: bytes) -> dict[str, Any]:
    """Parses a JSON object; refuses NaN, lone surrogates, 200 levels, duplicate members and huge integers."""
    try:
        value: Any = jiter.from_json(content, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {str(error)[:200]}") from error
    if not isinstance(value, dict):
        raise Refused(HTTPStatus.BAD_REQUEST, "the body is not a JSON object")
    return cast("dict[str, Any]", value)


def refusal(error: ValidationError, kind: type[BaseModel]) -> Refused:
    """The first error of a request as a refusal.

    Args:
        error: The errors.
        kind: The model of the request, which names the known fields.
    """
    errors = error.errors(include_url=False, include_context=False)
    item = next((item for item in errors if item["type"] == "extra_forbidden"), errors[0])
    if item["type"] == "extra_forbidden" and len(item["loc"]) == 1:
        return _unknown(str(item["loc"][0]), kind)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Refused(HTTPStatus.BAD_REQUEST, f"{_words(item)}{more}", param=_field(item))


def _unknown(name: str, kind: type[BaseModel]) -> Refused:
    """The refusal of a field that is unknown or not supported."""
    near = get_close_matches(name[:100], kind.model_fields, 1)
    if name in NOT_SUPPORTED:
        message = f"`{name}` is not supported; omit it"
    else:
        message = f"unknown field `{name[:100]}`" + (f"; did you mean `{near[0]}`?" if near else "")
    return Refused(HTTPStatus.BAD_REQUEST, message, param=name[:100], code="unknown_parameter")


def _words(item: Mapping[str, Any]) -> str:
    place = ".".join(str(part)[:100] for part in item["loc"])
    got = "" if item["type"] in ("missing", "value_error") else f" (got {reprlib.repr(item['input'])})"
    said = item["msg"].removeprefix("Value error, ") + got
    return f"`{place}`: {said}" if place else said


def _field(item: Mapping[str, Any]) -> str | None:
    return str(item["loc"][0])[:100] if item["loc"] else None
