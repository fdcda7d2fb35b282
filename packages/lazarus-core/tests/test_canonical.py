import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_core.canonical import MAX_INTEGER, canonical_digest, canonical_json, changed_members
from lazarus_core.errors import InputError

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


@given(values)
def test_canonical_json_parses_to_the_same_value(value: object):
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(texts, st.integers(0, 9)))
def test_the_order_of_members_does_not_matter(members: dict[str, int]):
    assert canonical_json(members) == canonical_json(dict(reversed(members.items())))


def test_members_are_sorted_by_utf16_units_as_in_rfc_8785():
    members = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    assert list(json.loads(canonical_json(members)).values()) == [2, 4, 6, 7, 1, 5, 3]


@pytest.mark.parametrize("value", [0.5, 2**53, {1, 2}, "\ud800", b"bytes"])
def test_what_has_no_canonical_form_is_refused(value: object):
    with pytest.raises(InputError) as caught:
        canonical_json({"value": value})
    assert caught.value.code == "LP-E006"


def test_a_digest_is_that_of_the_canonical_bytes():
    assert canonical_digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_changed_members_are_named():
    assert changed_members({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == ["b", "c"]
