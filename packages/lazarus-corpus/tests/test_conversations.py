"""Conversations, preferences and dialogues: each published form, and what is refused."""

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lazarus_corpus import SettingError, SourceError
from lazarus_corpus.cli.app import app
from lazarus_corpus.conversations.dialogues import dialogues, read_facts
from lazarus_corpus.conversations.forms import conversations, from_transcript, transcripts
from lazarus_corpus.conversations.preferences import preference
from lazarus_corpus.split import split_rows

ASKED = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


def messages(row: dict[str, Any], form: str = "auto") -> Any:
    ((found, _),) = conversations([(row, "d:1")], form)
    return found["messages"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"instruction": "q", "context": "", "response": "a"}, ASKED),
        ({"instruction": "q", "context": "c", "response": "a"}, [{"role": "user", "content": "q\n\nc"}, ASKED[1]]),
        ({"instruction": "q", "input": "c", "output": "a"}, [{"role": "user", "content": "q\n\nc"}, ASKED[1]]),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, ASKED),
        ({"messages": ASKED, "extra": None}, ASKED),
        ({"question": "q", "answer": "a"}, ASKED),
        ({"dialogue": ["q", "a"]}, ASKED),
        ({"transcript": "\nUser: q\n\nassistant:a\n"}, ASKED),
        ({"turns": [{"speaker": "user", "text": "q"}, {"speaker": "bot", "text": "a"}]}, ASKED),
    ],
)
def test_each_form_gives_the_messages(row: dict[str, Any], expected: Any):
    assert messages(row) == expected


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"body": "x"}, "no known form"),
        ({"conversations": [{"from": "alien", "value": "q"}]}, "no role 'alien'"),
        ({"messages": [{"role": "user", "content": "q"}]}, "no answer"),
        ({"dialogue": ["q", 3]}, "turn 2"),
        ({"transcript": "q\nuser: q\nassistant: a"}, "the first line is no turn: 'q'"),
        ({"transcript": "q"}, "the first line is no turn"),
        ({"transcript": 3}, "must be a text"),
        ({"transcript": "user: q"}, "no answer"),
    ],
)
def test_what_is_no_conversation_is_refused_with_its_place(row: dict[str, Any], words: str):
    with pytest.raises(SourceError, match=f"d:1: .*{words}"):
        messages(row)


TEXTS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r<:"), max_size=12), max_size=3).map(
    "\n".join
)
TURNS = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), TEXTS.map(str.strip)), max_size=4)


@given(st.lists(TURNS, max_size=4))
def test_a_written_transcript_is_read_back(dialogues_: list[list[tuple[str, str]]]):
    written = [turns for turns in dialogues_ if turns] + [[("user", "q"), ("assistant", "a")]]
    text = "\n<dialogue>\n".join("\n".join(f"{role}: {said}" for role, said in turns) for turns in written)
    found = [row["transcript"] for row, _ in transcripts(text, "t")]
    read = [from_transcript({"transcript": each}) for each in found]
    assert [[(each["role"], each["content"]) for each in turns] for turns in read] == written


def test_the_place_of_a_transcript_is_its_line(tmp_path: Path):
    (tmp_path / "primer.txt").write_text("user: q\nassistant: a\n\n<dialogue>\n\nuser: only a question\n", "utf-8")
    asked = ["conversations", "-d", str(tmp_path / "primer.txt"), "-o", str(tmp_path / "chats.jsonl")]
    refused = CliRunner().invoke(app, asked)
    assert isinstance(refused.exception, SourceError)
    assert str(refused.exception).startswith(f"{tmp_path}/primer.txt:6: the conversation has no answer")
    assert not (tmp_path / "chats.jsonl").exists()
    (tmp_path / "primer.txt").write_text("<dialogue>\nuser: q\nassistant: a\n<dialogue>\n", "utf-8")
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert json.loads((tmp_path / "chats.jsonl").read_text("utf-8")) == {"messages": ASKED}


def message(name: str, parent: str | None, role: str, **more: Any) -> tuple[dict[str, Any], str]:
    return {"message_id": name, "parent_id": parent, "role": role, "text": f"text of {name}", **more}, f"d:{name}"


def test_a_tree_gives_each_thread_once_in_any_order():
    rows = [
        message("r", None, "prompter"),
        message("a", "r", "assistant"),
        message("b", "r", "assistant"),
        message("q", "a", "prompter"),  # without an answer: the thread ends at a
        message("p", "b", "prompter"),
        message("c", "p", "assistant"),
        message("gone", None, "prompter", deleted=True),
        message("lost", "gone", "assistant"),
    ]
    found = [row for row, _ in conversations(rows)]
    assert [(row["id"], row["group"], len(row["messages"])) for row in found] == [("a", "r", 2), ("c", "r", 4)]
    assert [row for row, _ in conversations(rows[::-1])] == found


@given(st.integers(1, 40), st.randoms(use_true_random=False))
def test_a_thread_is_a_path_and_every_answer_is_in_one(count: int, generator: Any):
    rows = [message("0", None, "prompter")]
    for number in range(1, count):
        parent = generator.randrange(number)
        role = "assistant" if rows[parent][0]["role"] == "prompter" else "prompter"
        rows.append(message(str(number), str(parent), role))
    found = [row for row, _ in conversations(generator.sample(rows, len(rows)), "oasst")]
    used = {each["content"] for row in found for each in row["messages"]}
    assert {row["text"] for row, _ in rows if row["role"] == "assistant"} <= used
    for row in found:
        assert [each["role"] for each in row["messages"]] == ["user", "assistant"] * (len(row["messages"]) // 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"role": ["prompter"]}, "known `role`"),
        ({"role": "alien"}, "known `role`"),
        ({"parent_id": [1]}, "must be texts"),
        ({"message_id": 3}, "must be texts"),
    ],
)
def test_a_message_of_a_tree_with_a_wrong_field_is_one_line(change: dict[str, Any], words: str):
    row = {"message_id": "a", "parent_id": None, "text": "q", "role": "prompter", **change}
    with pytest.raises(SourceError, match=f"d:1: .*{words}"):
        list(conversations([(row, "d:1")], "oasst"))


def test_tools_and_group_of_a_row_stay():
    more = {"tools": [{"type": "function", "function": {"name": "f"}}], "group": "g"}
    ((row, _),) = conversations([({"id": 0, "messages": ASKED, **more}, "d:1")])
    assert row == {"id": "0", "messages": ASKED, **more}
    ((row, _),) = conversations([({"messages": ASKED, "tools": None, "group": None}, "d:1")])
    assert row == {"messages": ASKED}
    made = preference({"prompt": "q", "chosen": "a", "rejected": "b", **more}, "d:1")
    assert made is not None and made["tools"] == more["tools"]


ODD = 'a "b" \\ c'


@pytest.mark.parametrize(
    ("command", "option", "content"),
    [
        ("conversations", "-d", {"id": ODD, "messages": ASKED}),
        ("conversations", "-d", {"id": ODD, "group": ODD, "messages": ASKED}),
        ("conversations", "-d", {"group": ODD, "messages": ASKED}),
        ("conversations", "-d", {"question": "q", "answer": "a"}),
        ("dialogues", "--facts", {ODD: {"x": "y"}}),
        ("preferences", "-d", {"id": ODD, "prompt": "q", "chosen": "a", "rejected": "b"}),
    ],
)
def test_an_earlier_output_is_replaced_and_another_file_is_not(
    command: str, option: str, content: dict[str, Any], tmp_path: Path
):
    (tmp_path / "in.jsonl").write_text(json.dumps(content) + "\n")
    words = [command, option, str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.jsonl")]
    for _ in range(2):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.exception
    (tmp_path / "out.jsonl").write_text('{"id":"a","messages":"others"}\n')
    assert CliRunner().invoke(app, words).exit_code != 0


def test_a_split_goes_by_group_or_id_even_if_it_is_zero(tmp_path: Path):
    rows = [{"group": number % 3, "text": f"t{number}"} for number in range(60)]
    rows += [{"group": 100 + number, "id": number, "text": "in all groups"} for number in range(60)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for seed in range(5):
        counts = split_rows(
            [tmp_path / "d.jsonl"], tmp_path / "t.jsonl", tmp_path / "v.jsonl", share=0.5, seed=seed, force=True
        )
        sides = [
            [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()] for name in ("t", "v")
        ]
        assert [len(side) for side in sides] == list(counts)
        for field in ("text", "group"):
            train, validation = ({row[field] for row in side} for side in sides)
            assert not train & validation


def test_rows_that_a_split_leaves_out_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    rows = [{"id": number, "text": "equal"} for number in range(50)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    counts = split_rows([tmp_path / "d.jsonl"], tmp_path / "t.jsonl", tmp_path / "v.jsonl", share=0.5)
    assert 0 < sum(counts) < 50 and min(counts) == 0
    assert f"{50 - sum(counts)} rows were left out" in caplog.text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "NaN or infinity"),
        ([float("inf")], "NaN or infinity"),
        (b"bytes", "bytes"),
        (datetime.datetime(2024, 1, 1), "datetime"),
        (decimal.Decimal("1.5"), "Decimal"),
    ],
)
def test_a_value_of_parquet_that_json_lacks_is_one_line(value: Any, words: str, tmp_path: Path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"id": ["a", "b"], "text": ["x", "y"], "z": [None, value]}), tmp_path / "d.parquet")
    with pytest.raises(SourceError, match=rf"d\.parquet:2: no value of JSON \(.*{words}"):
        split_rows([tmp_path / "d.parquet"], tmp_path / "t.jsonl", tmp_path / "v.jsonl", share=0.5)
    turns = [[{**turn, "z": value} for turn in ASKED]]
    parquet.write_table(arrow.table({"messages": turns}), tmp_path / "d.parquet")
    words_of_command = ["conversations", "-d", str(tmp_path / "d.parquet"), "-o", str(tmp_path / "c.jsonl")]
    done = CliRunner().invoke(app, words_of_command)
    assert isinstance(done.exception, SourceError) and "no value of JSON" in str(done.exception)


def test_preferences_of_both_forms():
    prompt, good, bad = ASKED[:1], [{"role": "assistant", "content": "good"}], [{"role": "assistant", "content": "bad"}]
    expected = {"prompt": prompt, "chosen": good, "rejected": bad}
    assert preference({"prompt": "q", "chosen": "good", "rejected": "bad"}, "d:1") == expected
    assert preference({"prompt": prompt, "chosen": prompt + good, "rejected": prompt + bad}, "d:1") == expected
    assert preference({"chosen": prompt + good, "rejected": prompt + bad}, "d:1") == expected
    texts = {name: f"\n\nHuman: q\n\nAssistant: {name}" for name in ("good", "bad")}
    assert preference({"chosen": texts["good"], "rejected": texts["bad"]}, "d:1") == expected
    begun = "\n\nHuman: q\n\nAssistant:"  # the answers follow, or repeat it
    assert preference({"prompt": begun, "chosen": " good", "rejected": " bad"}, "d:1") == expected
    assert preference({"prompt": begun, "chosen": texts["good"], "rejected": texts["bad"]}, "d:1") == expected
    earlier = [*ASKED, {"role": "user", "content": "q2"}]
    longer = "\n\nHuman: q\n\nAssistant: a\n\nHuman: q2\n\nAssistant:"
    assert preference({"prompt": longer, "chosen": "good", "rejected": "bad"}, "d:1") == expected | {"prompt": earlier}
    assert preference({"prompt": "q", "chosen": "a", "rejected": "a"}, "d:1") is None
    with pytest.raises(SourceError, match="share no turn"):
        preference({"chosen": "x", "rejected": "y"}, "d:1")


def test_equal_pairs_are_dropped_and_counted(tmp_path: Path):
    rows = [{"prompt": "q", "chosen": "a", "rejected": "b"}, {"prompt": "q", "chosen": "a", "rejected": "a"}]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = CliRunner().invoke(app, ["preferences", "-d", str(tmp_path / "d.jsonl"), "-o", str(tmp_path / "o.jsonl")])
    assert done.exit_code == 0 and "1 rows have equal" in done.output
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 1


FACTS = {
    "capitals": {"France": "Paris", "Peru": "Lima", "Chad": "N'Djamena"},
    "shop": [{"question": ["When?"], "answer": "At nine."}],
}


def test_dialogues_are_the_same_every_time_and_say_what_is_true(tmp_path: Path):
    (tmp_path / "facts.json").write_text(json.dumps(FACTS))
    command = ["dialogues", "--facts", str(tmp_path / "facts.json"), "--per-category", "30", "--seed", "0", "-o"]
    for name in ("a", "b"):
        assert CliRunner().invoke(app, [*command, str(tmp_path / f"{name}.jsonl")]).exit_code == 0
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["category"] for row in rows] == ["capitals"] * 30 + ["shop"] * 30
    for row in rows[:30]:
        turns = row["messages"]
        assert [each["role"] for each in turns] == ["user", "assistant"] * (len(turns) // 2)
        for question, answer in zip(turns[::2], turns[1::2], strict=True):
            for name, value in FACTS["capitals"].items():  # pyright: ignore[reportAttributeAccessIssue]
                assert (name in question["content"]) == (value in answer["content"])
    assert len({json.dumps(row["messages"]) for row in rows[:30]}) == 30
    facts = read_facts(tmp_path / "facts.json")
    assert list(dialogues(facts, 5, 1)) != list(dialogues(facts, 5, 2))


@pytest.mark.parametrize(
    "facts", [{}, {"a": {}}, {"a": [1]}, {"a": {"b": None}}, {"a": [{"question": "q"}]}, {"a": "b"}]
)
def test_facts_of_another_form_are_refused(facts: Any, tmp_path: Path):
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    with pytest.raises(SettingError, match=r"facts\.json"):
        read_facts(tmp_path / "facts.json")


def test_dialogues_that_equal_others_are_counted(caplog: pytest.LogCaptureFixture):
    facts = {"a": [(["q?"], ["a."])], "b": [(["q?"], ["a."])]}
    made = [json.dumps(each["messages"]) for each in dialogues(facts, 400, 0)][:400]
    assert f"{400 - len(set(made))} dialogues of 'a' equal others" in caplog.text
    caplog.clear()
    made = [json.dumps(each["messages"]) for each in dialogues(facts, 30, 0)][:30]
    assert len(set(made)) == 30 and not caplog.text


QUESTION = {"prompt": "q", "completion": "a"}


@pytest.mark.parametrize(
    ("first", "later", "form"),
    [
        (QUESTION, {**QUESTION, "instruction": "q", "response": "a"}, "dolly"),
        ({"messages": []}, {"messages": [], "conversations": []}, "sharegpt"),
        (QUESTION, {"messages": []}, "openai"),
        (QUESTION, {**QUESTION, "message_id": "1", "parent_id": None, "text": "t", "role": "user"}, "oasst"),
    ],
)
def test_rows_of_different_forms_are_refused(first: Any, later: Any, form: str):
    first = {**first, **({"messages": [{"role": "assistant", "content": "a"}]} if "messages" in first else {})}
    with pytest.raises(SourceError, match=f"^d:2: of the form `{form}`, but the first row, d:1, is of the form"):
        list(conversations([(first, "d:1"), (later, "d:2")]))


def test_a_given_form_decides_alone_and_turns_have_two_names():
    rows = [(QUESTION, "d:1"), ({**QUESTION, "instruction": "x", "response": "y"}, "d:2")]
    assert [row["messages"][0]["content"] for row, _ in conversations(rows, "completion")] == ["q", "q"]
    assert len([*conversations([({"turns": ["q", "a"]}, "d:1"), ({"dialogue": ["q", "a"]}, "d:2")])]) == 2
