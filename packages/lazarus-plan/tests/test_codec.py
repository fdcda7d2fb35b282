import json

import pytest
from hypothesis import given

from lazarus_plan import BatchPlan, CorruptPlan, encode_step
from lazarus_plan.codec import decode_line, encode_lines
from lazarus_plan.testing import plans

LINE = b'{"step":0,"samples":[12,88],"tokens":256,"packing":[[0,128],[128,256]]}\n'


@given(plans())
def test_a_line_is_what_the_format_says(plan: BatchPlan):
    for index, line in enumerate(encode_lines(plan)):
        step = plan.step(index)
        segments = [(place, s) for place, row in enumerate(step.rows) for s in row.segments]
        members = json.loads(line)
        assert line == json.dumps(members, separators=(",", ":")).encode() + b"\n" == encode_step(plan, index)
        assert (members["step"], members["tokens"]) == (index, step.tokens)
        assert members["samples"] == [s.sample for _, s in segments]
        assert [(a % step.row_len, (b - 1) % step.row_len + 1) for a, b in members["packing"]] == [
            (s.start, s.end) for _, s in segments
        ]


@given(plans())
def test_decoding_is_the_inverse_of_encoding(plan: BatchPlan):
    for number, line in enumerate(encode_lines(plan), 1):
        assert decode_line(line, number).encode() == line


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
