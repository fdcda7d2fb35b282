import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_plan import BatchPlan
from lazarus_plan.errors import CorruptPlan
from lazarus_plan.format import ascii_ints as digits
from lazarus_plan.format import encode_step
from lazarus_plan.format.step_codec import (
    Columns,
    _decode_fast,  # pyright: ignore[reportPrivateUsage] # the fast way
    _from_lines,  # pyright: ignore[reportPrivateUsage] # the slow way
    decode,
    encode_lines,
)
from lazarus_plan.format.step_json import decode_line
from lazarus_plan.testing import plans

LINE = b'{"step":0,"samples":[12,88],"tokens":256,"packing":[[0,128],[128,256]]}\n'


def lines_of(plan: BatchPlan) -> list[bytes]:
    return b"".join(encode_lines(plan)).splitlines(keepends=True)


@given(plans())
def test_a_line_is_what_the_format_says(plan: BatchPlan):
    for index, line in enumerate(lines_of(plan)):
        step = plan.step(index)
        segments = [(place, s) for place, row in enumerate(step.rows) for s in row.segments]
        members = json.loads(line)
        assert line == json.dumps(members, separators=(",", ":")).encode() + b"\n" == encode_step(plan, index)
        assert (members["step"], members["tokens"]) == (index, step.tokens)
        assert members["samples"] == [s.sample for _, s in segments]
        assert members["packing"] == [
            [place * step.row_len + s.start, place * step.row_len + s.end] for place, s in segments
        ]
        if any(s.span for _, s in segments):
            assert members["spans"] == [list(s.span or (0, s.end - s.start)) for _, s in segments]
        else:
            assert "spans" not in members


@given(plans())
def test_the_fast_decoder_reads_what_the_slow_one_reads(plan: BatchPlan):
    block = b"".join(encode_lines(plan))
    lines = [decode_line(line, number) for number, line in enumerate(block.splitlines(keepends=True), 1)]
    assert b"".join(line.encode() for line in lines) == block
    fast = _decode_fast(block)
    assert fast is not None and same(fast, _from_lines(lines))


@given(plans(), st.data())
def test_a_byte_that_changes_comes_and_goes_is_judged_as_line_by_line(plan: BatchPlan, data: st.DataObject):
    block = b"".join(encode_lines(plan))
    place = data.draw(st.integers(0, len(block) - 1))
    written = data.draw(st.sampled_from([*(bytes([byte]) for byte in b'0123456789#,[]{}":- w\n'), b"\xff", b""]))
    block = block[:place] + written + block[place + data.draw(st.integers(0, 1)) :]
    try:
        slow = _from_lines([decode_line(raw, at) for at, raw in enumerate(block.splitlines(keepends=True), 1)])
    except CorruptPlan:
        with pytest.raises(CorruptPlan):
            decode(block, 1)
    else:
        assert same(decode(block, 1), slow)


def same(one: Columns, other: Columns) -> bool:
    return all(np.array_equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))


@given(st.lists(st.integers(0, 2**53 - 1), min_size=1))
def test_digits_are_written_and_read_like_python_does(values: list[int]):
    column = np.array(values)
    width = digits.widths(column)
    assert width.tolist() == [len(str(value)) for value in values]
    text = np.full(int(width.sum()) + len(values), ord(","), dtype=np.uint8)
    digits.write(text, np.cumsum(width + 1) - 1, column)
    assert text.tobytes().decode() == "".join(f"{value}," for value in values)
    assert digits.read(text)[0].tolist() == values


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"\xef\xbb\xbf" + LINE, "LP-E101"),
        (LINE.replace(b"step", b"st\xc3\xa9p"), "LP-E101"),
        (LINE[:-1], "LP-E102"),
        (LINE[:-1] + b"\r\n", "LP-E102"),
        (b"\n", "LP-E102"),
        (LINE.replace(b"256,", b"256.0,"), "LP-E103"),
        (LINE.replace(b"[12,", b"[012,"), "LP-E103"),
        (LINE.replace(b"[12,", b"[-12,"), "LP-E103"),
        (LINE.replace(b"[12,", b"[1e2,"), "LP-E103"),
        (LINE.replace(b"[12,", b"[9007199254740992,"), "LP-E103"),
        (LINE.replace(b"[12,", b"[true,"), "LP-E103"),
        (LINE.replace(b",", b", ", 1), "LP-E104"),
        (b'{"samples":[12,88],"step":0,"tokens":256,"packing":[[0,128],[128,256]]}\n', "LP-E105"),
        (LINE.replace(b"}", b',"note":1,"spans":[[0,128],[0,128]]}'), "LP-E105"),
        (LINE.replace(b"}", b',"step":0}'), "LP-E106"),
        (LINE.replace(b'"tokens":256,', b""), "LP-E106"),
        (b"[0]\n", "LP-E106"),
        (LINE[:20] + b"\n", "LP-E106"),
        (b"[" * 100_000 + b"\n", "LP-E106"),
        (LINE.replace(b"[12,", b"["), "LP-E107"),
    ],
)
def test_any_other_spelling_is_refused(line: bytes, code: str):
    with pytest.raises(CorruptPlan) as caught:
        decode_line(line, 7)
    assert caught.value.code == code and "plan.jsonl:7:" in caught.value.message


def test_unknown_members_may_follow():
    line = LINE.replace(b"}", b',"note":"new"}')
    assert decode_line(line, 1).samples == [12, 88]
