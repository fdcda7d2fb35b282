import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lazarus_core import strict_json
from lazarus_core.strict_json import MAX_DEPTH, MalformedJson, parse_json, parse_object, read_json, read_object
from suite import thinned

PIECES = [
    *'{}[]:,"\\-.e \n\r\t',
    "1",
    "0",
    '"a"',
    '"b"',
    "NaN",
    "Infinity",
    "1e999",
    "\\ud83d",
    "\\ude00",
    "true",
    "é",
    "\ufeff",
]


PEAK_KIB = """
import resource, sys
def peak_kib():
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10  # bytes on macOS
    with open("/proc/self/status") as status:  # ru_maxrss would be the parent's, where that was larger
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
"""
"""Source of a function that gives the peak memory of a child process."""


def refusal(content: bytes | str) -> str:
    with pytest.raises(MalformedJson) as caught:
        parse_json(content, "file")
    assert "\n" not in caught.value.message and caught.value.message.startswith("file:")
    return caught.value.message


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@example('{"a":1,"a":2}')
@example("1e999")
@example('["\\ude00"]')
def test_what_is_read_is_what_python_reads_and_all_else_is_one_line(text: str):
    try:
        value = parse_json(text)
    except MalformedJson as error:
        assert error.problem and "\n" not in error.message
    else:
        assert json.dumps(value) == json.dumps(json.loads(text)) and "Infinity" not in json.dumps(value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\n", "a blank line"),
        (b'{"a":1,}', "not JSON"),
        (b'{"a":1,"a":1}', "member 'a' occurs twice"),
        (b'{"a":NaN}', "NaN is no number of JSON"),
        (b'{"a":1e400}', "beyond the range of a double"),
        (b"[" + b"1" * 400 + b".0]", "beyond the range of a double"),
        (b'{"a":"\\ud800"}', "half of a surrogate pair"),
        (b'{"a":"\xed\xa0\x80"}', "byte 7 of the line is not UTF-8"),
        (b'{\n"a":\n"\xff"}', "file:3: byte 2 of the line is not UTF-8"),
        ('{"a":1}'.encode("utf-16"), "UTF-16"),
        (b'\xef\xbb\xbf{"a":1}', "byte order mark"),
        (b'{"a":1}\r{"a":2}\r', "after a CR: lines end with LF or CR LF"),
        (b"9" * 4301, "4,301 digits; at most 4,300"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} levels"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, f"more than {MAX_DEPTH} levels"),
        (b'{\n"a": x}', "file:2:6: not JSON"),
        ("\ud800", "half of a surrogate pair"),
    ],
)
def test_each_fault_has_one_answer(content: bytes | str, words: str):
    assert words in refusal(content)


def test_just_the_bounds_are_read():
    assert parse_json(b"9" * 4300) == int("9" * 4300)
    deep = parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert json.dumps(deep) == "[" * MAX_DEPTH + "]" * MAX_DEPTH


def test_values_are_counted_before_they_are_made(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(strict_json, "MAX_VALUES", 10)
    assert parse_json(b"[1,2,3,4,5,6,7,8,9]") == list(range(1, 10))
    assert "more than 10 values" in refusal(b"[[],[],[],[],[],[],[]]")
    assert parse_json(b'"' + b"a" * 1000 + b'"') == "a" * 1000


def test_a_byte_order_mark_at_the_start_of_a_file_is_skipped(tmp_path: Path):
    (tmp_path / "file").write_bytes(b'\xef\xbb\xbf{"a":1}\r\n')
    assert read_object(tmp_path / "file") == read_json(tmp_path / "file") == {"a": 1}


@pytest.mark.parametrize(
    ("content", "what"), [(b"[]", "a list"), (b"5", "a number"), (b"null", "null"), (b'""', "a text")]
)
def test_another_value_than_an_object_is_named(content: bytes, what: str):
    with pytest.raises(MalformedJson, match=f"not a JSON object but {what}"):
        parse_object(content)


def test_the_bound_of_digits_is_not_that_of_the_environment():
    code = "from lazarus_core.strict_json import parse_json; parse_json(b'9' * 4301)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONINTMAXSTRDIGITS": "0"}, capture_output=True, text=True, check=False
    )
    assert "at most 4,300" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("piece", thinned([b"[],", b'{"a":1},', b"1.5,", b'"a",'], [b'{"a":1},']))
@pytest.mark.thorough
def test_the_largest_line_takes_less_than_two_gigabytes(piece: bytes):
    code = f"""{PEAK_KIB}
if True:
        from lazarus_core.bounded import MAX_LINE_BYTES
        from lazarus_core.strict_json import MalformedJson, parse_json
        for count in ((8 << 20) // {piece.count(b",") + piece.count(b"[") + piece.count(b"{")} - 1, MAX_LINE_BYTES // {len(piece)}):
            content = b"[" + {piece!r} * count + b"0]"
            try:
                parse_json(content)
            except MalformedJson:
                pass
        print(peak_kib())
    """
    done: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2 << 20  # KiB
