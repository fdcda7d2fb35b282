import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lazarus_core.jsonl import MalformedLine, parse_object
from lazarus_tokenkit.codes import CODES
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.samples.json_rows import MALFORMED, NOT_UTF8, parse_json

HERE = Path("rows.jsonl")
PIECES = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    '"a"',
    '"b"',
    '"\\ud83d',
    '\\ude00"',
    '"',
    "\\",
    "1",
    "-",
    "0",
    ".",
    "5e9",
    "1e999",
]
PIECES += [
    "9" * 30,
    "NaN",
    "-Infinity",
    "true",
    "null",
    " ",
    "\t",
    "\n",
    "\r",
    "\x00",
    "\x0b",
    "\x1f",
    "\u00e9",
    "\ufeff",
    "/",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def parsed(content: bytes) -> Any:
    """The value, compared by how it is spelled: 1 is not 1.0; None where it is refused."""
    try:
        return json.dumps(parse_json(content, HERE, 1))
    except SampleError:
        return None


def expected(content: bytes) -> Any:
    """What the strict reader of lazarus-plan makes of the value, as a member of an object."""
    try:
        return json.dumps(parse_object(b'{"member":' + content + b"}")["member"])
    except MalformedLine:
        return None


@given(VALUES, st.booleans())
def test_values_are_read_as_by_the_other_strict_reader(value: Any, is_ascii: bool):
    content = json.dumps(value, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    assert parsed(content) == expected(content)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
@example('{"a":1,"a":1}')
@example('{"b":{"a":1,"\\u0061":2}}')
@example('["\\ude00"]')
@example('["\\ud83d\\ude00"]')
@example("-0")
@example("9" * 4301)
def test_whatever_is_malformed_is_refused_as_by_the_other_strict_reader(text: str):
    assert parsed(text.encode()) == expected(text.encode())


@given(st.binary(max_size=6))
def test_bytes_that_are_no_text_are_refused_as_by_the_other_strict_reader(content: bytes):
    assert parsed(b'"' + content + b'"') == expected(b'"' + content + b'"')


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a":1,"a":2}\n', r"rows\.jsonl:7: member 'a' occurs twice$"),
        (b'{"a":NaN}\r\n', r"rows\.jsonl:7:6: NaN is no number of JSON: write null$"),
        (b'{"a":\n', r"rows\.jsonl:7:6: not JSON: Expecting value$"),
        (b'{"a":"\\ud800"}', r"rows\.jsonl:7:7: half of a surrogate pair"),
        (b'{"a":"\xff"}', r"rows\.jsonl:7: byte 7 of the line is not UTF-8"),
        (b'{"a":' + b"9" * 4301 + b"}", r"rows\.jsonl:7:6: an integer of 4,301 digits; at most 4,300"),
        (b"[" * 300 + b"]" * 300, r"rows\.jsonl:7: nested too deeply: more than 201 levels"),
    ],
)
def test_what_is_wrong_is_said_once_with_its_place(content: bytes, words: str):
    with pytest.raises(SampleError, match="^" + words):
        parse_json(content, HERE, 7)


def test_of_a_whole_file_the_line_is_named():
    # Python 3.13 names the trailing comma, 3.12 what follows it
    with pytest.raises(SampleError, match=r"^rows\.jsonl:(2:2|3:1): not JSON"):
        parse_json(b"[\n1,\n]", HERE)


def test_the_table_of_codes_describes_both_errors():
    assert "UTF-8" in CODES[NOT_UTF8].meaning and "JSON" in CODES[MALFORMED].meaning
    for content, code in ((b'{"a":"\xff"}', NOT_UTF8), (b'{"a":', MALFORMED)):
        with pytest.raises(SampleError) as caught:
            parse_json(content, HERE)
        assert caught.value.code == code
