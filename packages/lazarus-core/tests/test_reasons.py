"""Reasons of pydantic in plain words."""

from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel, TypeAdapter, ValidationError

from lazarus_core.reasons import plain_reason


class Model(BaseModel, extra="forbid"):
    """A model with one field."""

    field: int


REASONS: list[tuple[Any, Any, str]] = [
    (int, "nan", "must be a whole number"),
    (int, 1.5, "must be a whole number"),
    (int, [], "must be a whole number"),
    (int, "9" * 5000, "must have fewer digits"),
    (float, "x", "must be a number"),
    (bool, "x", "must be true or false"),
    (str, 1, "must be a text"),
    (list[int], 1, "must be a list"),
    (dict[str, int], 1, "must be an object with keys"),
    (Annotated[int, Ge(1)], 0, "must be at least 1"),
    (Annotated[int, Gt(1)], 0, "must be above 1"),
    (Annotated[int, Le(1)], 2, "must be at most 1"),
    (Annotated[int, Lt(1)], 2, "must be below 1"),
    (Literal["a", "b"], "c", "must be 'a' or 'b'"),
    (Annotated[str, MinLen(1)], "", "must have at least 1 character"),
    (Annotated[list[int], MinLen(1)], [], "must have at least 1 item, not 0"),
    (Model, {}, "is missing"),
    (Model, {"field": 1, "other": 1}, "is unknown"),
]


@pytest.mark.parametrize(("kind", "value", "reason"), REASONS)
def test_pydantic_says_it_in_plain_words(kind: Any, value: Any, reason: str):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    assert plain_reason(caught.value.errors()[0]["msg"]) == reason
