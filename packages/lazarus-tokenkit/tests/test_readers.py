import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from lazarus_tokenkit import ChatSample, CompletionSample, FieldNames, Message, TextSample, read_samples
from lazarus_tokenkit.errors import SampleError

GOOD = b'{"text":"a"}\n'


def write(folder: Path, content: bytes, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def read(path: Path, **fields: Any) -> list[Any]:
    return list(read_samples(path, FieldNames(**fields)))


def test_standard_names_are_found(tmp_path: Path):
    assert read(write(tmp_path, b'{"id":"x","text":"a","n":1}')) == [TextSample("x", "a")]
    assert read(write(tmp_path, b'{"prompt":"p","completion":"c","id":7}')) == [CompletionSample("7", "p", "c")]
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    chat = ChatSample("0", (Message("user", "q"), Message("assistant", "a")))
    assert read(write(tmp_path, json.dumps({"messages": turns}).encode())) == [chat]


def test_given_names_are_read_and_the_other_half_keeps_its_standard_name(tmp_path: Path):
    path = write(tmp_path, b'{"question":"q","completion":"a","text":"t"}')
    assert read(path, prompt="question") == [CompletionSample("0", "q", "a")]


def test_rows_without_an_id_are_named_by_position(tmp_path: Path):
    assert [sample.id for sample in read(write(tmp_path, GOOD * 3))] == ["0", "1", "2"]


def test_gzip_and_several_files_read_as_one(tmp_path: Path):
    paths = [write(tmp_path, GOOD), write(tmp_path, gzip.compress(b'{"text":"b"}'), "more.jsonl.gz")]
    assert list(read_samples(paths)) == [TextSample("0", "a"), TextSample("1", "b")]


def test_spelling_of_the_file_does_not_change_digests(tmp_path: Path):
    plain = read(write(tmp_path, '{"prompt":"é","completion":"c"}'.encode()))
    spelled = read(write(tmp_path, b'\xef\xbb\xbf{ "completion" : "c", "x": 0, "prompt": "\\u00e9", "id": "z" }\r\n\n'))
    assert plain[0].digest == spelled[0].digest
    assert plain[0].digest != CompletionSample("0", "é", "C").digest


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no rows"),
        (b"\n\n", "no rows"),
        (GOOD + b'{"text":}\n', r"rows\.jsonl:2:9: malformed JSON"),
        (GOOD + b'{"text":"a"', r"rows\.jsonl:2:12: malformed JSON"),
        (GOOD + b'{"body":"a","id":1}', r"rows\.jsonl:2: no field `text` among `body`, `id`"),
        (b'{"question":"a","answer":"b"}', r"rows\.jsonl:1: no field .* among `answer`, `question`; name the fields"),
        (GOOD + b'{"text":null}', r"rows\.jsonl:2: `text` is null, not a text"),
        (GOOD + b'{"text":[1]}', r"rows\.jsonl:2: `text` is a list, not a text"),
        (GOOD + b"[1]", r"rows\.jsonl:2: the row is a list, not an object"),
        (GOOD + b'{"text":"\xff"}', r"rows\.jsonl:2: byte 10 of the line is not UTF-8"),
        (GOOD + b'{"text":"\\ud800"}', r"rows\.jsonl:2: half a surrogate pair"),
        (GOOD + b"\n" + GOOD, r"rows\.jsonl:2: blank line between rows"),
        (b'{"id":"k","text":"a"}\n{"id":"k","text":"b"}', r"rows\.jsonl:2: id 'k' stands in .*rows\.jsonl:1 too"),
        (b'{"id":"1","text":"a"}\n' + GOOD, r"rows\.jsonl:2: id '1' stands in"),
        (b'{"id":true,"text":"a"}', "`id` is a boolean"),
        (b'{"messages":{}}', "`messages` is an object, not a list"),
        (b'{"messages":[]}', "no message of role `assistant`"),
        (b'{"messages":["a"]}', r"messages\[0\] is a text, not an object"),
        (b'{"messages":[{"role":"user"}]}', r"messages\[0\]: no field `content` among `role`"),
        (b'{"messages":[{"role":"a","content":"b","tool_calls":[]}]}', r"messages\[0\] has `tool_calls`"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_field(tmp_path: Path, content: bytes, words: str):
    with pytest.raises(SampleError, match=words):
        read(write(tmp_path, content))


def test_a_whole_surrogate_pair_is_a_character(tmp_path: Path):
    assert read(write(tmp_path, b'{"text":"\\ud83d\\ude00"}')) == [TextSample("0", "\U0001f600")]


@pytest.mark.parametrize(
    ("name", "words"), [("none.jsonl", "does not exist"), ("rows.txt", "is not one of"), ("", "is a directory")]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, words: str):
    write(tmp_path, GOOD, "rows.txt")
    with pytest.raises(SampleError, match=words):
        read(tmp_path / name)


def test_a_cut_gzip_file_is_named(tmp_path: Path):
    with pytest.raises(SampleError, match="not a whole gzip file"):
        read(write(tmp_path, gzip.compress(GOOD * 99)[:-12], "rows.jsonl.gz"))


def test_fields_of_two_kinds_are_refused():
    with pytest.raises(SampleError, match="three kinds"):
        FieldNames(text="t", prompt="p")
