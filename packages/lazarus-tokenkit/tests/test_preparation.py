import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_tokenkit import (
    ChatSample,
    CompletionSample,
    Encoder,
    FieldNames,
    Message,
    PreferenceSample,
    PromptSample,
    TextSample,
    ToolCall,
    compute_fingerprint,
    load_tokenizer,
    read_samples,
)
from lazarus_tokenkit.analysis.waste import padding_waste
from lazarus_tokenkit.analysis.words import analyze_words
from lazarus_tokenkit.errors import TokenizerError, TokenkitError
from lazarus_tokenkit.preparation.curriculum import make_curriculum, reasoning_density
from lazarus_tokenkit.preparation.numerals import join_digits, normalize_numbers
from lazarus_tokenkit.preparation.registry import SpecialTokens
from lazarus_tokenkit.preparation.rewriting import map_texts, to_row
from lazarus_tokenkit.preparation.structures import PATTERNS, inject_structures, restore_structures, structure_tokens
from lazarus_tokenkit.preparation.system_message import add_system_message
from lazarus_tokenkit.regression import read_suite
from lazarus_tokenkit.samples.kinds import JSON
from lazarus_tokenkit.samples.schemas import to_sample
from lazarus_tokenkit.tokenizers import BpeConfig, train_bpe

STRUCTURES = ["https://a.org/b?c=1", "x@y.org", "2024-01-31", "10.0.0.1", "0xff", "/usr/lib/x", "plain words, 3.14"]


@given(st.integers(0, 10**15))
def test_equal_numbers_get_one_spelling(number: int):
    assert normalize_numbers(f"a {number:,} b") == f"a {number} b" == normalize_numbers(f"a {number} b")
    assert join_digits(normalize_numbers(f"{number:,}", "spaced")) == str(number)


@pytest.mark.parametrize("text", ["1,2,3", "v1.2.3", "12,34", "a1,234", "no numbers", "1,234,56"])
def test_what_is_no_number_stays(text: str):
    assert normalize_numbers(text) == text


@given(st.lists(st.sampled_from(STRUCTURES) | st.text(max_size=9), max_size=6).map(" ".join))
def test_what_was_injected_is_restored(text: str):
    injected = inject_structures(text)
    assert restore_structures(injected) == text
    assert len(injected.values) == sum(injected.text.count(token) for token in structure_tokens())


def test_every_structure_has_an_example_that_is_found():
    examples = dict(zip(("url", "email", "date", "ip", "hex", "path"), STRUCTURES, strict=False))
    examples["uuid"] = "123e4567-e89b-12d3-a456-426614174000"
    assert set(examples) == set(PATTERNS)
    assert all(inject_structures(f"see {text} now").text == f"see <|{name}|> now" for name, text in examples.items())
    with pytest.raises(ValueError, match="could not be restored"):
        inject_structures("<|url|> https://a.org/b")


def test_special_tokens_get_ids_without_gaps_and_are_checked():
    tokens = SpecialTokens().add("pad", "<pad>").add("bos", "<s>").add("eos", "</s>")
    tokenizer = train_bpe(["a b c"] * 9, BpeConfig(vocab_size=262, special_tokens=tokens.texts))
    assert tokens.verify(tokenizer) == []
    assert tokens.add("tool", "<tool>").verify(tokenizer) == ["tool '<tool>' has id None, not 3"]
    assert SpecialTokens().verify(tokenizer)[0] == "'</s>' is not in the list"
    for purpose, text in (("pad", "<x>"), ("x", "<pad>"), ("x", " x"), ("x", "")):
        with pytest.raises(TokenizerError):
            tokens.add(purpose, text)


def test_a_curriculum_goes_from_short_to_long_and_keeps_ties():
    samples = [TextSample(str(n), text) for n, text in enumerate(["ccc", "a", "bb", "d"])]
    found = make_curriculum(samples, "length", load_tokenizer("byte"), num_stages=2)
    assert (found.order, found.stages) == ((1, 3, 2, 0), (0, 2))
    assert make_curriculum(samples, "length").order == found.order
    assert make_curriculum(samples, "length", num_stages=9).stages == (0, 1, 2, 3), "no stage is empty"
    assert make_curriculum([], "length").stages == ()


def test_reasoning_is_denser_where_there_are_steps():
    texts = ["The cat sat.", "First, 2 + 2 = 4, so there are four because of that.", ""]
    assert reasoning_density(texts[1]) > reasoning_density(texts[0]) == reasoning_density(texts[2]) == 0
    samples = [TextSample(str(n), text) for n, text in enumerate(texts)]
    assert make_curriculum(samples, "reasoning").order == (0, 2, 1)


def test_padding_is_counted_by_way_of_batching():
    assert padding_waste([4, 4, 4], 2) == {"in order": 0, "sorted": 0, "to the longest": 0}
    assert padding_waste([1, 9], 2, max_length=1)["in order"] == 0
    with pytest.raises(TokenkitError):
        padding_waste([], 2)


def test_words_out_of_vocabulary_are_named():
    report = analyze_words(load_tokenizer("char:abc "), ["abc abx", "abx aa aa aa aa"])
    assert (report.oov, report.oov_rate, report.distinct) == ((("abx", 2),), 2 / 7, 3)
    assert report.rare_rate == 2 / 3 and report.most_split == (("aa", 3, 4),)
    assert report.by_tokens == ((1, 1, 0), (2, 2, 0), (3, 3, 1), (4, 4, 2))
    assert report.by_occurrence == ((1, 1, 1), (2, 2, 1), (3, 3, 0), (4, 9, 1))


SUITE = """
tokenizer: byte
fingerprint: {fingerprint}
tests:
  - text: Hi
    ids: [72, 105]
    pieces: [H, i]
    count: 2
    round_trip: true
  - text: <|im_end|>
    special: true
    max_tokens: 1
"""


def test_a_suite_that_holds_and_one_that_does_not(call: Any, tmp_path: Path):
    path = tmp_path / "tests.yaml"
    path.write_text(SUITE.format(fingerprint=compute_fingerprint("byte").fingerprint[:20]))
    code, out, err = call("regression", "run", str(path))
    assert (code, out) == (0, "") and "3 of 3 passed" in err
    code, out, _ = call("regression", "run", str(path), "-t", "char:Hi")
    assert code == 1 and "FAILED 'Hi': ids are [4, 5]" in out and "FAILED fingerprint: is" in out
    assert json.loads(call("regression", "run", str(path), "--json")[1])[1] == {"name": "'Hi'", "failures": []}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("tests: [", "is malformed"),
        ("tests: [{text: a, idz: []}]", r"tests\.0\.idz: is not one of name, text, .* round_trip$"),
        ("[]", "the file: is not an object with"),
        ("{}", "tests: is missing"),
        ("", "the file: is not an object with"),
        ("tests: []", "the file: `tests` is empty .* give at least one test"),
        ("tests: [{text: a}]", r"tests\.0: has no expected result: give `ids`"),
        ("tests: [{text: 3}]", r"tests\.0\.text: is not a text; put it in quotation marks"),
        ('tests: [{text: "\\ud800", count: 1}]', r"tests\.0\.text: half a surrogate pair"),
        ("fingerprint: 3e6c\ntests: []", "fingerprint: is not 16 to 64 digits"),
    ],
)
def test_a_suite_that_is_none_is_named(tmp_path: Path, content: str, words: str):
    path = tmp_path / "t.yaml"
    path.write_text(content)
    with pytest.raises(TokenkitError, match=words):
        read_suite(path)


def test_a_suite_may_be_toml(tmp_path: Path):
    path = tmp_path / "t.toml"
    path.write_text('[[tests]]\ntext = "a"\ncount = 1\n')
    assert read_suite(path).tests[0].count == 1


def test_commands_of_order_words_and_waste(call: Any, tmp_path: Path):
    data, lengths = tmp_path / "d.jsonl", tmp_path / "l.jsonl"
    data.write_text('{"text":"ccc"}\n{"text":"a"}\n')
    _, out, _ = call("samples", "curriculum", str(data), "--stages", "2")
    assert [json.loads(line)["position"] for line in out.splitlines()] == [1, 0]
    assert "out of vocabulary" in call("analyze", "words", "-t", "byte", "-d", str(data))[1]
    assert call("lengths", "build", "-d", str(data), "-t", "byte", "-o", str(lengths))[0] == 0
    assert json.loads(call("lengths", "waste", "-l", str(lengths), "-b", "1", "--json")[1])["in order"] == 0


TURNS = st.lists(
    st.sampled_from(["user", "assistant", "tool"]).flatmap(lambda role: st.builds(Message, st.just(role), st.text())),
    min_size=1,
    max_size=3,
).map(lambda turns: (*turns, Message("assistant", "end")))
TOOLS = st.sampled_from([(), ({"name": "f"},)])
ANSWER = st.builds(Message, st.just("assistant"), st.text()).map(lambda turn: (turn,))
CALLS = st.just((Message("user", "q"), Message("assistant", "", (ToolCall("f", {"x": [1.5, None]}, "c1"),))))
SAMPLES = st.one_of(
    st.builds(TextSample, st.just("7"), st.text()),
    st.builds(CompletionSample, st.just("7"), st.text(), st.text()),
    st.builds(ChatSample, st.just("7"), TURNS | CALLS, TOOLS),
    st.builds(PreferenceSample, st.just("7"), TURNS, ANSWER, ANSWER, TOOLS),
    st.builds(PromptSample, st.just("7"), TURNS, TOOLS),
)


@given(SAMPLES)
def test_a_row_is_read_as_the_sample_that_it_was_written_from(sample: Any):
    row = json.loads(json.dumps(to_row(sample)))
    names = FieldNames().resolve(row)
    assert names is not None
    assert to_sample(row, names, row["id"]) == sample
    assert map_texts(sample, str) == sample


SYSTEM_ROWS: list[JSON] = [
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    {
        "messages": [
            {"role": "system", "content": "own"},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
        ]
    },
]
OTHER_ROWS: list[JSON] = [
    {"prompt": "a", "completion": "b"},
    {"prompt": "a", "chosen": "b", "rejected": "c"},
    {"prompt": "a"},
    {"instruction": "a", "output": "b"},
]


@pytest.mark.parametrize("rows", [SYSTEM_ROWS, *([row] for row in OTHER_ROWS)])
def test_a_system_message_is_added_where_there_is_none(call: Any, tmp_path: Path, rows: list[JSON]):
    data, output, system = tmp_path / "d.jsonl", tmp_path / "o.jsonl", tmp_path / "system.txt"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    system.write_text("Be brief.\nBe kind.\n")
    code, _, err = call("samples", "prepare", str(data), "-o", str(output), "--system-file", str(system))
    assert code == 0 and "1 system message added" in err
    before, after = list(read_samples(data)), list(read_samples(output))
    for old, new in zip(before, after, strict=True):
        assert new == add_system_message(old, "Be brief.\nBe kind.")
        assert isinstance(new, ChatSample | PromptSample | PreferenceSample)
        turns = new.prompt if isinstance(new, PreferenceSample) else new.messages
        systems = [turn.content for turn in turns if turn.role == "system"]
        assert systems == (["own"] if "own" in str(old) else ["Be brief.\nBe kind."])
        if isinstance(new, ChatSample) and isinstance(
            old, ChatSample | CompletionSample
        ):  # the rest of the conversation and its loss are as before
            encoder = Encoder(load_tokenizer("byte"), "chatml")
            old_ids, new_ids = encoder.encode(old), encoder.encode(new)
            assert new_ids.ids[-len(old_ids.ids) + 1 :] == old_ids.ids[1:]
            assert sum(new_ids.loss_mask) == sum(old_ids.loss_mask)
        assert add_system_message(new, "Again.") is new


@pytest.mark.parametrize(
    ("content", "row", "words"),
    [
        (b"ok", {"text": "a document"}, "d.jsonl:1: a document has no turns"),
        (b"\xff", OTHER_ROWS[0], "system.txt: not UTF-8 (byte 0)"),
        (b" \n\n", OTHER_ROWS[0], "system.txt: the system message is empty"),
        (b"x" * ((1 << 20) + 1), OTHER_ROWS[0], "system.txt"),
        (None, OTHER_ROWS[0], "system.txt"),
    ],
    ids=["document", "bytes", "empty", "large", "missing"],
)
def test_a_system_message_that_cannot_be_added_is_one_line(
    call: Any, tmp_path: Path, content: bytes | None, row: JSON, words: str
):
    data, output, system = tmp_path / "d.jsonl", tmp_path / "o.jsonl", tmp_path / "system.txt"
    data.write_text(json.dumps(row) + "\n")
    if content is not None:
        system.write_bytes(content)
    code, out, err = call("samples", "prepare", str(data), "-o", str(output), "--system-file", str(system))
    assert (code, out) == (2, "") and words in err and len(err.splitlines()) == 1 and not output.exists()


def test_samples_are_prepared_and_can_be_put_back(call: Any, tmp_path: Path):
    data, output = tmp_path / "d.jsonl", tmp_path / "o.jsonl"
    row = {"id": "a", "prompt": "Is 1,234 at https://a.org/1,000?", "completion": "On 2024-05-01, 2,000."}
    data.write_text(json.dumps(row) + "\n")
    code, _, err = call(
        "samples", "prepare", str(data), "-o", str(output), "--numbers", "plain", "--structures", "url,date"
    )
    made = json.loads(output.read_text())
    assert code == 0 and "1 sample, 2 texts changed, 2 structures" in err and "<|url|> <|date|>" in err
    assert made == {
        "id": "a",
        "prompt": "Is 1234 at <|url|>?",
        "completion": "On <|date|>, 2000.",
        "structures": ["https://a.org/1,000", "2024-05-01"],
    }
    assert call("samples", "prepare", str(data), "-o", str(data))[0] == 2 and json.loads(data.read_text()) == row
    assert call("samples", "prepare", str(data), "-o", str(output), "--structures", "phone")[0] == 2
    data.write_text('{"text": "<|url|>"}\n')
    code, _, err = call("samples", "prepare", str(data), "-o", str(tmp_path / "p.jsonl"), "--structures", "all")
    assert code == 2 and "d.jsonl:1: the text already contains '<|url|>'" in err
    assert not (tmp_path / "p.jsonl").exists()
