import gzip
import hashlib
import importlib.util
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_core.canonical import canonical_json
from lazarus_tokenkit import (
    ChatSample,
    CompletionSample,
    Encoder,
    FieldNames,
    LabelledSample,
    Message,
    PreferenceSample,
    PromptSample,
    Sample,
    TextSample,
    ToolCall,
    build_lengths,
    load_tokenizer,
    read_samples,
)
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.preparation.rewriting import to_row
from lazarus_tokenkit.samples.files import data_files
from lazarus_tokenkit.samples.schemas import to_sample

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
        (GOOD + b'{"text":}\n', r"rows\.jsonl:2:9: not JSON"),
        (GOOD + b'{"text":"a"', r"rows\.jsonl:2:12: not JSON: .* no line feed follows: the file was cut off"),
        (
            GOOD + b'{"text":"a","n":' + b"9" * 5000 + b"}\n",
            r"rows\.jsonl:2:\d+: an integer of .* digits; at most 4,300",
        ),
        (GOOD + b'{"body":"a","id":1}', r"rows\.jsonl:2: no field `text` among `body`, `id`"),
        (b'{"question":"a","answer":"b"}', r"rows\.jsonl:1: no field .* among `answer`, `question`; name the fields"),
        (GOOD + b'{"text":null}', r"rows\.jsonl:2: `text` is null, not a text"),
        (GOOD + b'{"text":[1]}', r"rows\.jsonl:2: `text` is a list, not a text"),
        (GOOD + b"[1]", r"rows\.jsonl:2: the row is a list, not an object"),
        (GOOD + b'{"text":"\xff"}', r"rows\.jsonl:2: byte 10 of the line is not UTF-8"),
        (GOOD + b'{"text":"\\ud800"}', r"rows\.jsonl:2:\d+: half of a surrogate pair"),
        (GOOD + b"\n" + GOOD, r"rows\.jsonl:2: blank line between rows"),
        (b'{"id":"k","text":"a"}\n{"id":"k","text":"b"}', r"rows\.jsonl:2: id 'k' is also the id of .*rows\.jsonl:1"),
        (b'{"id":"1","text":"a"}\n' + GOOD, r"rows\.jsonl:2: id '1' is also the id of"),
        (b'{"id":true,"text":"a"}', "`id` is a boolean"),
        (b'{"messages":{}}', "`messages` is an object, not a list"),
        (b'{"messages":[]}', "no message of role `assistant`"),
        (b'{"messages":["a"]}', r"messages\[0\] is a text, not an object"),
        (b'{"messages":[{"role":"user"}]}', r"messages\[0\]: no field `content` among `role`"),
        (b'{"messages":[{"role":"a","content":"b","refusal":"c"}]}', r"messages\[0\] has `refusal`"),
        (b'{"messages":[{"role":"a","content":[{"type":"image_url"}]}]}', "a part that is not text"),
        (b'{"messages":[{"role":"a","tool_calls":[{"name":1}]}]}', "an entry that is not a call"),
        (b'{"messages":[{"from":"alien","value":"b"}]}', "`from` is 'alien'"),
        (b'{"prompt":"p","chosen":"c","rejected":[]}', "`rejected` does not end with an answer"),
        (b'{"chosen":"c","rejected":"d"}', "do not begin with the same prompt"),
        (b'{"instruction":"i","input":3,"output":"o"}', "`input` is a number"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_field(tmp_path: Path, content: bytes, words: str):
    with pytest.raises(SampleError, match=words):
        read(write(tmp_path, content))


def test_a_malformed_line_with_an_end_is_not_called_cut_off(tmp_path: Path):
    with pytest.raises(SampleError, match=r"not JSON: [^;,]*$"):
        read(write(tmp_path, b'{"text":}\n'))


def test_a_whole_surrogate_pair_is_a_character(tmp_path: Path):
    assert read(write(tmp_path, b'{"text":"\\ud83d\\ude00"}')) == [TextSample("0", "\U0001f600")]


@pytest.mark.parametrize(
    ("name", "words"), [("none.jsonl", "does not exist"), ("rows.bin", "is not one of"), ("", "is a directory")]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, words: str):
    write(tmp_path, GOOD, "rows.bin")
    with pytest.raises(SampleError, match=words):
        read(tmp_path / name)


def test_a_cut_gzip_file_is_named(tmp_path: Path):
    with pytest.raises(SampleError, match="not a complete gzip file"):
        read(write(tmp_path, gzip.compress(GOOD * 99)[:-12], "rows.jsonl.gz"))


def test_fields_of_two_kinds_are_refused():
    with pytest.raises(SampleError, match="different kinds"):
        FieldNames(text="t", prompt="p")


TURNS = (Message("user", "q"), Message("assistant", "a"))
CALL = {"type": "function", "function": {"name": "add", "arguments": '{"a": 1.5}'}, "id": "c1"}


@pytest.mark.parametrize(
    ("row", "sample"),
    [
        ({"instruction": "i", "input": "x", "output": "o"}, CompletionSample("0", "i\n\nx", "o")),
        ({"instruction": "i", "input": "", "output": "o"}, CompletionSample("0", "i", "o")),
        ({"prompt": "q"}, PromptSample("0", TURNS[:1])),
        (
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
            ChatSample("0", TURNS),
        ),
        (
            {"system": "s", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
            ChatSample("0", (Message("system", "s"), *TURNS)),
        ),
        (
            {"prompt": "q", "chosen": "a", "rejected": "b"},
            PreferenceSample("0", TURNS[:1], TURNS[1:], (Message("assistant", "b"),)),
        ),
        (
            {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"},
            PreferenceSample("0", TURNS[:1], TURNS[1:], (Message("assistant", "b"),)),
        ),
        *(  # `Assistant:` at the end of a prompt begins the answer
            (
                {"prompt": "\n\nHuman: q\n\nAssistant:", "chosen": f"{before}a", "rejected": f"{before}b"},
                PreferenceSample("0", TURNS[:1], TURNS[1:], (Message("assistant", "b"),)),
            )
            for before in ("", " ", "\n\nHuman: q\n\nAssistant: ")
        ),
        ({"prompt": "\n\nHuman: q\n\nAssistant:"}, PromptSample("0", TURNS[:1])),
        (
            {"prompt": "\n\nHuman: q\n\nAssistant: a\n\nHuman: r\n\nAssistant:"},
            PromptSample("0", (*TURNS, Message("user", "r"))),
        ),
        (
            {"prompt": "q", "chosen": " a", "rejected": " b"},
            PreferenceSample("0", TURNS[:1], (Message("assistant", " a"),), (Message("assistant", " b"),)),
        ),
        (
            {
                "prompt": "q",
                "chosen": [turn.to_json() for turn in TURNS],
                "rejected": [TURNS[0].to_json(), {"role": "assistant", "content": "b"}],
            },
            PreferenceSample("0", TURNS[:1], TURNS[1:], (Message("assistant", "b"),)),
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}, TURNS[1].to_json()]},
            ChatSample("0", TURNS),
        ),
        (
            {"tools": [{"name": "add"}], "messages": [{"role": "assistant", "content": None, "tool_calls": [CALL]}]},
            ChatSample("0", (Message("assistant", "", (ToolCall("add", {"a": 1.5}, "c1"),)),), ({"name": "add"},)),
        ),
    ],
)
def test_every_form_is_read(tmp_path: Path, row: dict[str, Any], sample: Any):
    assert read(write(tmp_path, json.dumps(row).encode())) == [sample]
    assert len(sample.digest) == 32


def test_the_same_rows_in_every_file_are_the_same_samples(tmp_path: Path):
    rows = [{"prompt": "p,\n1", "completion": "\u00e9"}, {"prompt": "q", "completion": ""}]
    write(tmp_path, "\n".join(map(json.dumps, rows)).encode())
    write(tmp_path, json.dumps(rows).encode(), "rows.json")
    write(tmp_path, '\ufeffprompt,completion\n"p,\n1",\u00e9\nq,\n'.encode(), "rows.csv")
    write(tmp_path, 'prompt\tcompletion\n"p,\n1"\t\u00e9\nq\t\n'.encode(), "rows.tsv")
    found = [read(path) for path in sorted(tmp_path.iterdir())]
    assert len(found) == 4 and all(each == found[0] for each in found)


def test_parquet_is_read_like_the_others(tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra `parquet`")
    table = pytest.importorskip("pyarrow").table({"text": ["a", "b"], "id": ["x", "y"]})
    parquet.write_table(table, tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet") == [TextSample("x", "a"), TextSample("y", "b")]
    with pytest.raises(SampleError, match="is not Parquet"):
        read(write(tmp_path, b"PAR1", "u.parquet"))


def write_table(path: Path, **columns: Any) -> Path:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra `parquet`")
    parquet.write_table(pytest.importorskip("pyarrow").table(columns), path)
    return path


def test_calls_in_parquet_have_no_arguments_of_other_calls(tmp_path: Path):
    turns = [
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}
        for arguments in ({"city": "Bern"}, {"day": 3})
    ]
    (sample,) = read(write_table(tmp_path / "t.parquet", messages=[turns]))
    assert [dict(turn.tool_calls[0].arguments) for turn in sample.messages] == [{"city": "Bern"}, {"day": 3}]
    assert [sample] == read(write(tmp_path, json.dumps({"messages": turns}).encode()))


@pytest.mark.parametrize(
    ("value", "words"), [(b"a", "`text` is bytes"), (date(2020, 1, 1), "`text` is a date"), (None, "`text` is null")]
)
def test_what_parquet_alone_can_hold_is_named(tmp_path: Path, value: Any, words: str):
    with pytest.raises(SampleError, match=rf"t\.parquet:1: {words}, not a text"):
        read(write_table(tmp_path / "t.parquet", text=[value]))


def test_parquet_that_python_cannot_hold_is_refused(tmp_path: Path):
    arrow = pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    times = arrow.array([0, 2**60], arrow.timestamp("us"))
    with pytest.raises(SampleError, match=r"t\.parquet: after row 0: .* remove the column with that date"):
        read(write_table(tmp_path / "t.parquet", text=["a", "b"], when=times))
    twice = arrow.table([["a"], ["b"]], names=["text", "text"])
    pytest.importorskip("pyarrow.parquet").write_table(twice, tmp_path / "u.parquet")
    with pytest.raises(SampleError, match=r"u\.parquet has 2 columns `text`"):
        read(tmp_path / "u.parquet")


def test_a_row_of_another_form_is_told_who_decided(tmp_path: Path):
    files = [write(tmp_path, b'{"prompt": "p", "completion": "c"}', "a.jsonl"), write(tmp_path, b"one", "b.txt")]
    words = r"b\.txt:1: no field `prompt` among `text`; all rows must have the form of the first row, `completion` in .*a\.jsonl:1$"
    with pytest.raises(SampleError, match=words):
        list(read_samples(files))
    with pytest.raises(SampleError, match=r"a\.jsonl:1: no field `x` among `completion`, `prompt`$"):
        list(read_samples(files, FieldNames(text="x")))


def test_places_may_be_given_as_texts(tmp_path: Path):
    path = write(tmp_path, b'{"text":"a"}\n')
    assert [*read_samples(str(path))] == [*read_samples([str(path)])] == read(path)
    assert build_lengths(str(path), Encoder(load_tokenizer("byte")), str(tmp_path / "l.jsonl")).count == 1


def test_a_directory_of_texts_is_named_by_its_paths(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    write(tmp_path, b"one", "b.txt")
    write(tmp_path / "deep", b"two", "a.md")
    write(tmp_path, b"{}", "ignored.json")
    (tmp_path / ".git").mkdir()
    write(tmp_path / ".git", b"hidden", "c.txt")
    write(tmp_path / "deep", b"\0\5\x16\7", "._a.md")  # the attributes of a file that macOS copied
    assert [file.name for file in data_files(tmp_path)] == ["b.txt", "a.md", "ignored.json"]
    assert read(tmp_path) == [TextSample("b.txt", "one"), TextSample("deep/a.md", "two")]
    assert read(tmp_path / "b.txt") == [TextSample("0", "one")]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("r.csv", b"prompt,completion\np\n", r"r\.csv:2: the row and the header have different numbers of cells"),
        ("r.csv", b'prompt,completion\n"p,c\n', r"r\.csv: malformed CSV"),
        ("r.csv", b"text\na\n\xff\n", r"r\.csv:3: not UTF-8; convert"),
        ("r.csv", b"text,n,text\na,1,b\n", r"r\.csv has 2 columns `text`; rename all but one"),
        (
            "r.json",
            b'{"text": "a"}\n{"text": "b"}\n',
            r"r\.json:2:1: not JSON: .* is a complete row: .* rename the file to r\.jsonl",
        ),
        ("r.json", b'{"text": "a"}', "is an object, not a list of rows"),
        ("r.json", b'[{"text": "a"}, 3]', r"r\.json:2: the row is a number"),
        ("r.json", b'[\n{"text": "a"},\n]', r"r\.json:(2:14|3:1): not JSON"),
        ("r.txt", b"\xff", r"r\.txt: byte 1 is not UTF-8"),
    ],
)
def test_a_bad_file_of_any_form_is_named(tmp_path: Path, name: str, content: bytes, words: str):
    with pytest.raises(SampleError, match=words):
        read(write(tmp_path, content, name))


@pytest.mark.slow
def test_saved_data_sets_are_read_by_split(tmp_path: Path):
    datasets = pytest.importorskip("datasets", reason="needs the extra `datasets`")
    one = datasets.Dataset.from_dict({"text": ["a", "b"], "id": ["x", "y"]})
    one.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict(train=one).save_to_disk(str(tmp_path / "train-only"))
    datasets.DatasetDict(train=one, test=one).save_to_disk(str(tmp_path / "both"))
    for folder in ("one", "train-only", "both/test"):
        assert list(read_samples(tmp_path / folder)) == [TextSample("x", "a"), TextSample("y", "b")]
    with pytest.raises(SampleError, match=r"has the splits train, test: give one, such as .*both/train"):
        list(read_samples(tmp_path / "both"))


def test_a_saved_data_set_needs_its_extra_or_is_read(tmp_path: Path):
    write(tmp_path, b"{}", "state.json")
    is_there = importlib.util.find_spec("datasets") is not None
    words = (
        "is not a complete saved data set: .*; save it again" if is_there else r"install lazarus-tokenkit\[datasets\]"
    )
    with pytest.raises(SampleError, match=words):
        read(tmp_path)


def test_names_and_positions_are_told_apart_wherever_names_begin(tmp_path: Path):
    lines = [b'{"text":"a"}', b'{"text":"b","id":"x"}', b'{"text":"c","id":0}']
    with pytest.raises(SampleError, match=r"rows\.jsonl:3: id '0' is also the id of .*rows\.jsonl:1"):
        read(write(tmp_path, b"\n".join(lines)))
    assert len(read(write(tmp_path, b"\n".join(lines[:2])))) == 2


def test_chosen_and_completion_are_two_kinds():
    with pytest.raises(SampleError, match="different kinds"):
        FieldNames(chosen="a", completion="b")


def test_a_digest_without_calls_is_what_it_was_before_there_were_any():
    # Changing this breaks stored length caches and plans.
    content = b'{"messages":[{"content":"q","role":"user"},{"content":"a","role":"assistant"}]}'
    assert ChatSample("0", TURNS).digest == hashlib.sha256(content).digest()


@given(st.text(), st.text())
def test_digests_are_over_canonical_json(prompt: str, completion: str):
    sample = CompletionSample("0", prompt, completion)
    expected = canonical_json({"prompt": prompt, "completion": completion})
    assert sample.digest == hashlib.sha256(expected).digest()
    turns = {"messages": [turn.to_json() for turn in sample.messages]}
    assert ChatSample("0", sample.messages).digest == hashlib.sha256(canonical_json(turns)).digest()


LABELLED = FieldNames(label="good")


def test_a_transcript_before_a_labelled_answer_begins_it(tmp_path: Path):
    row = {"prompt": "\n\nHuman: q\n\nAssistant:", "completion": " a", "good": True}
    (sample,) = read_samples(write(tmp_path, json.dumps(row).encode()), LABELLED)
    assert sample == LabelledSample("0", TURNS[:1], TURNS[1:], True)


def test_a_label_is_read_where_its_field_is_named_and_belongs_to_the_content(tmp_path: Path):
    file = write(
        tmp_path, b'{"prompt":"p","completion":"c","good":true}\n{"prompt":"p","completion":"c","good":false}\n'
    )
    assert [type(sample) for sample in read_samples(file)] == [CompletionSample] * 2
    desirable, other = read_samples(file, LABELLED)
    assert isinstance(desirable, LabelledSample)
    assert isinstance(other, LabelledSample)
    encoder = Encoder(load_tokenizer("byte"), template="plain")
    assert (desirable.label, other.label) == (True, False)
    assert desirable.digest != other.digest
    assert encoder.encode(desirable) == encoder.encode(CompletionSample("0", "p", "c"))
    assert [sample.digest for sample in map(read_again, (desirable, other))] == [desirable.digest, other.digest]


def read_again(sample: Sample) -> Sample:
    """From the row that it is written as."""
    return to_sample(to_row(sample), FieldNames(prompt="prompt", completion="completion", label="label"), "0")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b'{"prompt":"p","completion":"c"}', "`good` is missing: give true for a desirable answer"),
        (b'{"prompt":"p","completion":"c","good":1}', "`good` is a number"),
        (b'{"prompt":"p","completion":[],"good":true}', "`completion` does not end with an answer"),
        (b'{"prompt":[],"completion":"c","good":true}', "`prompt` is empty"),
        (b'{"question":"p","completion":"c","good":true}', "no field `prompt`"),
    ],
)
def test_a_row_without_a_label_or_an_answer_is_named(tmp_path: Path, row: bytes, words: str):
    with pytest.raises(SampleError, match=rf"rows\.jsonl:1: {words}"):
        list(read_samples(write(tmp_path, row), LABELLED))


@pytest.mark.parametrize("field", ["response", "output", "answer", "solution", "chosen"])
def test_a_prompt_whose_answer_would_stay_unread_is_refused(tmp_path: Path, field: str):
    path = write(tmp_path, json.dumps({"prompt": "q", field: "a"}).encode())
    with pytest.raises(SampleError, match=f"name `{field}` as the `completion` field") as caught:
        read(path)
    assert caught.value.code == "LT-E317"
    if field != "chosen":
        assert list(read_samples(path, FieldNames(completion=field))) == [CompletionSample("0", "q", "a")]


def test_an_unread_answer_is_named_in_any_row(tmp_path: Path):
    with pytest.raises(SampleError, match=r":2: .*`response`"):
        read(write(tmp_path, b'{"prompt": "q"}\n{"prompt": "q", "response": "a"}'))
    assert read(write(tmp_path, b'{"prompt": "q", "response": ""}')) == [PromptSample("0", (Message("user", "q"),))]
