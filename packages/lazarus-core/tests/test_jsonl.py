import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_core.jsonl import MAX_BLANK_LINES, BlankLine, MalformedLine, parse_object, read_objects

TRAILING_COMMA = 7 if sys.version_info >= (3, 13) else 8  # Python 3.13 names the comma, 3.12 what follows it
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values), st.booleans(), st.sampled_from(["", "\n", "\r\n"]))
def test_every_object_is_read(members: dict[str, Any], is_ascii: bool, end: str):
    assert parse_object((json.dumps(members, ensure_ascii=is_ascii) + end).encode()) == members


@given(st.binary(max_size=40))
def test_any_bytes_are_an_object_or_one_error(line: bytes):
    try:
        found = parse_object(line)
    except MalformedLine as error:
        assert error.problem and "\n" not in error.message
    else:
        assert json.loads(line) == found


@pytest.mark.parametrize(
    ("line", "fault", "message"),
    [
        (
            b'{"n":' + b"7" * 5000 + b"}\n",
            "syntax",
            ":2:6: an integer of 5,000 digits; at most 4,300 are read: write it as a text (offset 13 in the file)",
        ),
        (b'{"n":NaN}\n', "syntax", ":2:6: NaN is no number of JSON: write null"),
        (b'{"n":-Infinity}\n', "syntax", ":2:6: -Infinity is no number"),
        (b'{"\xc3\xa4":"\xff"}\n', "encoding", ":2: byte 8 of the line is not UTF-8 (offset 15 in the file)"),
        (b'\xef\xbb\xbf{"a":1}\n', "encoding", ":2: there is a byte order mark"),
        (b'{"a":1,"b":{"c":1,"c":2}}\n', "syntax", ":2: member 'c' occurs twice"),
        (b'{"\xc3\xa4":1,}\n', "syntax", f":2:{TRAILING_COMMA}: not JSON: "),
        (b'{"a":1,"b":"cut o', "syntax", "no line feed follows: the file was cut off"),
        (b'\n{"a":1}\n', "syntax", ":2: blank line between rows"),
        (b'["a",1]\n', "type", ":2: not a JSON object"),
        (b'{"a":"\\udc00 and more"}\n', "syntax", ":2:7: half of a surrogate pair"),
        (b'{"a":' * 100_000, "syntax", ":2: nested too deeply"),
        (b'{"a":1} {"a":2}\n', "syntax", ":2:9: not JSON: Extra data"),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else None,
)
def test_what_is_wrong_is_said_with_file_line_column_and_byte(tmp_path: Path, line: bytes, fault: str, message: str):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a":1}\n' + line)
    rows = read_objects(path)
    assert next(rows) == ({"a": 1}, 1, 0)
    with pytest.raises(MalformedLine) as caught:
        next(rows)
    assert caught.value.fault == fault and message in caught.value.message
    assert caught.value.message.startswith(f"{path}:2:") and "\n" not in caught.value.message
    assert (caught.value.code, caught.value.exit_code, caught.value.offset) == ("LP-E003", 2, 8)


def test_lines_of_windows_and_a_whole_pair_of_surrogates_are_read(tmp_path: Path):
    (tmp_path / "rows").write_bytes(b'{"a":"\\ud83d\\ude00"}\r\n{"a":2}')
    assert [each.members for each in read_objects(tmp_path / "rows")] == [{"a": "\U0001f600"}, {"a": 2}]
    assert [each.offset for each in read_objects(tmp_path / "rows")] == [0, 22]


def test_blank_lines_end_a_file_and_never_part_rows(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a":1}\n{"a":2}\r\n\n \r\n')
    assert [each.members for each in read_objects(path)] == [{"a": 1}, {"a": 2}]
    path.write_bytes(b'{"a":1}\n' + b"\n" * (MAX_BLANK_LINES + 1))
    with pytest.raises(BlankLine, match="1,000 blank lines"):
        list(read_objects(path))
