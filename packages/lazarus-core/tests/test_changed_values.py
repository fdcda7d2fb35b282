"""Messages about settings that differ name every changed value, before and now."""

from hypothesis import given
from hypothesis import strategies as st

from lazarus_core.changed_values import describe_changes

VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-99, 99)
    | st.text("ab", max_size=4)
    | st.lists(st.integers(0, 9), max_size=2)
)
OBJECTS = st.dictionaries(st.text("abc", min_size=1, max_size=2), VALUES, max_size=5)


@given(OBJECTS, OBJECTS)
def test_every_member_that_differs_is_named_and_no_other(before: dict[str, object], now: dict[str, object]):
    text = describe_changes(before, now, shown=99)
    named = {part.split("`")[1] for part in text.split("; ")} if text else set()
    assert named == {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}


@given(OBJECTS)
def test_equal_objects_give_no_text(members: dict[str, object]):
    assert describe_changes(members, dict(reversed(members.items()))) == ""


def test_nested_members_have_dotted_names_and_long_values_are_cut():
    before, now = {"a": {"b": {"c": 1}}, "d": "x" * 99, "e": 1, "f": 1}, {"a": {"b": {"c": 2}}, "d": "y"}
    text = describe_changes(before, now)
    assert text.startswith('`a.b.c` was 1, is now 2; `d` was "xxx') and text.endswith(
        "`e` was 1, is now null; and 1 more"
    )
    assert len(text) < 160
