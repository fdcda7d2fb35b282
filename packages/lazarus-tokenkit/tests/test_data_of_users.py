"""Rows as data sets on the hub, TRL, OpenAI and ShareGPT write them."""

import gzip
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_tokenkit import (
    ChatSample,
    Encoder,
    FieldNames,
    Message,
    ToolCall,
    load_tokenizer,
    read_samples,
)
from lazarus_tokenkit.errors import SampleError, TemplateError
from lazarus_tokenkit.preparation.rewriting import to_row
from lazarus_tokenkit.samples.schemas import to_sample
from lazarus_tokenkit.samples.useless import has_empty_answer

QUESTION, ANSWER = Message("user", "q"), Message("assistant", "a")
ROWS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
    {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
    {"prompt": "q", "chosen": "a", "rejected": "b"},
    {"prompt": "q", "completion": "a"},
    {"instruction": "q", "output": "a"},
    {"text": "a"},
    {"prompt": "q"},
]
TURN_KEYS = ["weight", "refusal", "name", "tool_calls", "tool_call_id", "from", "role", "audio"]


def sample_of(row: dict[str, Any]) -> Any:
    names = FieldNames().resolve(row)
    assert names is not None, row
    return to_sample(row, names, "0")


def case(real_data: Path, name: str) -> list[Any]:
    return list(read_samples(real_data / "cases" / name))


@given(st.sampled_from(ROWS[:-1]), st.data())
def test_a_null_field_is_an_absent_field(row: dict[str, Any], data: st.DataObject):
    others = {name for other in ROWS for name in other} | {"tools", "system", "input", "id"}
    nulls = data.draw(st.sets(st.sampled_from(sorted(others - row.keys()))))
    wide = {name: row.get(name) for name in data.draw(st.permutations([*row, *nulls]))}
    assert sample_of(wide) == sample_of(row)


@given(st.sampled_from(ROWS[:2]), st.data())
def test_a_null_member_of_a_turn_is_an_absent_member(row: dict[str, Any], data: st.DataObject):
    ((name, turns),) = row.items()
    nulls = data.draw(st.sets(st.sampled_from(TURN_KEYS)))
    assert sample_of({name: [dict.fromkeys(nulls) | turn for turn in turns]}) == sample_of(row)


@pytest.mark.parametrize("answers", [{"completion": None}, {"chosen": None, "rejected": None}])
def test_a_null_answer_does_not_make_a_prompt_without_loss(answers: dict[str, None]):
    with pytest.raises(SampleError, match=f"`{next(iter(answers))}` is null"):
        sample_of({"prompt": "q"} | answers)


def test_null_keys_of_the_case_and_of_arguments(real_data: Path):
    assert case(real_data, "chat_nullkeys.jsonl") == [ChatSample("0", (QUESTION, ANSWER))]
    call = {"function": {"name": "f", "arguments": {"x": None}}, "id": None}
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    assert sample_of({"messages": turns}).messages[1] == Message("assistant", "", (ToolCall("f", {"x": None}),))
    with pytest.raises(SampleError, match="`content` is null"):
        sample_of({"messages": [{"role": "assistant", "content": None}]})


TOKENIZER = load_tokenizer("byte")
GENERATION = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}{% generation %}{% for part in m.content.split('|') %}{{ part }}{% endfor %}<|im_end|>"
    "{% endgeneration %}{% if m.reasoning_content is defined %}{% generation %}{{ m.reasoning_content }}{% endgeneration %}"
    "{% endif %}{% else %}{{ m.content }}<|im_end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
REASONING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.thinking %}<think>{{ m.thinking }}</think>{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WORDS = st.text("abc <|im_end|>\n\ufdd0", max_size=8)
TURNS = st.lists(
    st.tuples(WORDS, WORDS, st.booleans(), st.none() | WORDS.filter(bool)).map(
        lambda each: (Message("user", each[0]), Message("assistant", each[1], has_loss=each[2], reasoning=each[3]))
    ),
    min_size=1,
    max_size=3,
).map(lambda pairs: tuple(turn for pair in pairs for turn in pair))


def encoder(folder: Path, source: str) -> Encoder:
    path = folder / "template.jinja"
    path.write_text(source, "utf-8")
    return Encoder(TOKENIZER, str(path))


def loss_text(found: Any) -> str:
    ids = [each for each, has_loss in zip(found.ids, found.loss_mask, strict=True) if has_loss]
    return TOKENIZER.decode(ids)


@given(st.lists(TURNS, min_size=2, max_size=4))
def test_loss_is_exactly_on_turns_of_weight_one(tmp_path_factory: pytest.TempPathFactory, all_turns: list[Any]):
    """In one encoder, so that the cached layout of one sample is never that of another with the same roles."""
    folder = tmp_path_factory.mktemp("t")
    by_prefix, by_marks = encoder(folder, REASONING), encoder(folder, REASONING)
    for number, turns in enumerate(all_turns):
        found = by_prefix.encode(ChatSample(str(number), turns))
        expected = [
            (f"<think>{turn.reasoning}</think>" if turn.reasoning else "") + turn.content + "<|im_end|>"
            for turn in turns
            if turn.role == "assistant" and turn.has_loss
        ]
        assert loss_text(found) == "".join(expected)
    marked = Encoder(by_marks.tokenizer, str(folder / "marked.jinja"))
    (folder / "marked.jinja").write_text(GENERATION, "utf-8")
    for number, turns in enumerate(all_turns):
        expected = [
            turn.content.replace("|", "") + "<|im_end|>" + (turn.reasoning or "")
            for turn in turns
            if turn.role == "assistant" and turn.has_loss
        ]
        assert loss_text(marked.encode(ChatSample(str(number), turns))) == "".join(expected)


@given(TURNS)
def test_a_written_row_reads_as_the_same_sample(turns: tuple[Message, ...]):
    sample = ChatSample("0", turns)
    if not any(turn.has_loss for turn in turns if turn.role == "assistant"):
        with pytest.raises(SampleError, match="only answers of `weight` 0"):
            sample_of(to_row(sample))
    else:
        read = sample_of(to_row(sample))
        assert read == sample
        assert read.digest == sample.digest


def test_weight_and_reasoning_are_content_and_their_absence_keeps_digests():
    plain = ChatSample("0", (QUESTION, ANSWER, QUESTION, ANSWER))
    masked = replace(plain, messages=(QUESTION, replace(ANSWER, has_loss=False), QUESTION, ANSWER))
    thoughtful = replace(plain, messages=(QUESTION, ANSWER, QUESTION, replace(ANSWER, reasoning="r")))
    assert len({plain.digest, masked.digest, thoughtful.digest}) == 3
    content = {"messages": [{"content": each.content, "role": each.role} for each in plain.messages]}
    assert plain.digest == hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).digest()


def test_weights_of_the_case(real_data: Path):
    (sample,) = case(real_data, "chat_weight0.jsonl")
    assert [turn.has_loss for turn in sample.messages if turn.role == "assistant"] == [False, True]
    for template in ("chatml", "qwen3"):
        assert "right" in loss_text(Encoder(TOKENIZER, template).encode(sample))
        assert "wrong" not in loss_text(Encoder(TOKENIZER, template).encode(sample))


def test_reasoning_of_the_case_reaches_the_template_or_is_refused(real_data: Path, tmp_path: Path):
    (sample,) = case(real_data, "chat_reasoning.jsonl")
    assert loss_text(encoder(tmp_path, REASONING).encode(sample)) == "<think>let me think</think>b<|im_end|>"
    with pytest.raises(TemplateError, match="leaves the reasoning out") as caught:
        Encoder(TOKENIZER, "chatml").encode(sample)
    assert caught.value.code == "LT-E207"
    for name in ("thinking", "reasoning_content"):
        assert sample_of({"messages": [{"role": "assistant", "content": "b", name: "r"}]}).messages[0].reasoning == "r"


PLAIN_TURNS = st.lists(
    st.tuples(st.text("abc \n", min_size=1).filter(str.strip), st.text("abc \n", min_size=1).filter(str.strip)).map(
        lambda pair: (Message("user", pair[0]), Message("assistant", pair[1]))
    ),
    min_size=1,
    max_size=3,
).map(lambda pairs: tuple(turn for pair in pairs for turn in pair))


@given(turns=PLAIN_TURNS)
def test_without_a_generation_prompt_the_model_learns_to_begin_its_turn(real_data: Path, turns: tuple[Message, ...]):
    """The prompt of inference ends before the turn, so the beginning of the turn is for the model to write."""
    found = Encoder(TOKENIZER, str(real_data / "cases/tpl_nogenprompt.jinja")).encode(ChatSample("0", turns))
    answers = [turn.content for turn in turns if turn.role == "assistant"]
    assert loss_text(found) == "".join(f"<|im_start|>assistant\n{answer}<|im_end|>" for answer in answers)
    assert TOKENIZER.decode(found.ids) == "".join(
        f"<|im_start|>{turn.role}\n{turn.content}<|im_end|>\n" for turn in turns
    )


@given(turns=PLAIN_TURNS)
def test_a_generation_prompt_that_no_answer_begins_with_is_refused(real_data: Path, turns: tuple[Message, ...]):
    """Training without the empty thought, and inference with it, would be two tasks."""
    path = real_data / "cases/tpl_genthink.jinja"
    with pytest.raises(TemplateError, match="does not begin with its generation prompt; write the same text") as caught:
        Encoder(TOKENIZER, str(path)).encode(ChatSample("0", turns))
    assert caught.value.code == "LT-E205"
    assert "split" not in caught.value.message


def test_a_generation_prompt_with_marked_answers_is_used(real_data: Path, tmp_path: Path):
    content = "{{ m.content }}<|im_end|>"
    source = (real_data / "cases/tpl_genthink.jinja").read_text("utf-8")
    marked = source.replace(
        content,
        "{% if m.role == 'assistant' %}{% generation %}"
        + content
        + "{% endgeneration %}{% else %}"
        + content
        + "{% endif %}",
    )
    found = encoder(tmp_path, marked).encode(ChatSample("0", (QUESTION, ANSWER, QUESTION, ANSWER)))
    assert loss_text(found) == "a<|im_end|>" * 2


@given(turns=PLAIN_TURNS, thought=st.text("xyz\n", max_size=8).map(lambda text: text.strip("\n")))
def test_a_template_that_drops_earlier_thoughts_trains_the_last_answer_with_its_thought(
    real_data: Path, turns: tuple[Message, ...], thought: str
):
    path = str(real_data / "cases/tpl_qwenlike.jinja")
    *before, last = turns
    body = last.content.lstrip("\n")
    told = (*before, replace(last, content=f"<think>\n{thought}\n</think>\n\n{body}"))
    if len(turns) > 2:
        with pytest.raises(
            TemplateError, match="its content changes when more turns follow; use template `qwen3`"
        ) as caught:
            Encoder(TOKENIZER, path).encode(ChatSample("0", told))
        assert caught.value.code == "LT-E205"
        found = Encoder(TOKENIZER, "qwen3").encode(ChatSample("0", told))
        assert loss_text(found).endswith(f"{body}<|im_end|>")
    else:
        found = Encoder(TOKENIZER, path).encode(ChatSample("0", told))
        assert loss_text(found) == f"<think>\n{thought}\n</think>\n\n{body}<|im_end|>"


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        ({"role": "user", "content": "q", "weight": 1}, r"messages\[0\] has `weight` 1"),
        ({"role": "assistant", "content": "q", "weight": 0.5}, r"messages\[0\]: `weight` is 0.5"),
        ({"role": "assistant", "content": "q", "weight": True}, "`weight` is True"),
        ({"role": "assistant", "content": "q", "weight": "0"}, "`weight` is '0'"),
        ({"role": "user", "content": "q", "thinking": "r"}, "has reasoning, and its role is not"),
        ({"role": "assistant", "content": "q", "thinking": 1}, "`thinking` is a number"),
        ({"role": "assistant", "content": "q", "thinking": "r", "reasoning_content": "s"}, "differ; remove one"),
        ({"from": "human", "value": "q", "weight": 1}, "has `weight` 1"),
        ({"from": "function_call", "value": "f(1)"}, "`value` of a `function_call`: .*not JSON"),
        ({"from": "function_call", "value": "[]"}, "has no call"),
        ({"from": "function_call", "value": '{"name":"f"}'}, "not a call"),
    ],
)
def test_a_wrong_member_of_a_turn_is_named(turn: dict[str, Any], words: str):
    with pytest.raises(SampleError, match=words):
        sample_of({"messages": [turn, {"role": "assistant", "content": "a"}]})


def test_calls_of_sharegpt_are_calls_with_loss(real_data: Path):
    (sample,) = case(real_data, "sharegpt_fcall.jsonl")
    call = Message("assistant", "", (ToolCall("f", {"x": 1}),))
    assert sample.messages == (QUESTION, call, Message("tool", "r"), ANSWER)
    assert [tool["name"] for tool in sample.tools] == ["f"]
    loss = loss_text(Encoder(TOKENIZER, "chatml-tools").encode(sample))
    assert '"name": "f", "arguments": {"x": 1}' in loss
    assert loss.endswith("a<|im_end|>")
    two = [{"from": "function_call", "value": json.dumps([{"name": n, "arguments": {}} for n in "fg"])}]
    assert [call.name for call in sample_of({"conversations": two}).messages[0].tool_calls] == ["f", "g"]
    muted = [{"from": "gpt", "value": "a", "weight": 0}, {"from": "gpt", "value": "b"}]
    assert [turn.has_loss for turn in sample_of({"conversations": muted}).messages] == [False, True]


def test_prompt_and_completion_of_trl_have_loss_on_the_completion_only(real_data: Path):
    assert case(real_data, "chat_prompt_msgs.jsonl") == [ChatSample("0", (QUESTION, ANSWER))]
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "early"}]
    row = {
        "prompt": [*turns, turns[0]],
        "completion": [{"role": "assistant", "content": "a"}],
        "tools": [{"name": "f"}],
    }
    sample = sample_of(row)
    assert [turn.has_loss for turn in sample.messages] == [True, False, True, True]
    assert loss_text(Encoder(TOKENIZER, "chatml-tools").encode(sample)) == "a<|im_end|>"
    assert sample_of({"prompt": turns[:1], "completion": "a"}).messages == (QUESTION, ANSWER)
    assert sample_of({"prompt": "q", "completion": row["completion"]}).messages == (QUESTION, ANSWER)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": [], "completion": "a"}, "`prompt` is empty"),
        ({"prompt": "q", "completion": []}, "`completion` does not end with an answer"),
        (
            {"prompt": "q", "completion": [{"role": "assistant", "content": "a", "weight": 0}]},
            "`completion` has only answers of `weight` 0",
        ),
    ],
)
def test_a_prompt_or_completion_without_an_answer_to_learn_is_refused(row: dict[str, Any], words: str):
    with pytest.raises(SampleError, match=words):
        sample_of(row)


@pytest.mark.parametrize("name", ["chosen", "rejected"])
def test_a_preferred_answer_without_loss_is_refused(name: str):
    row = {"prompt": "q", "chosen": "a", "rejected": "b"}
    with pytest.raises(SampleError, match=f"`{name}` has only answers of `weight` 0"):
        sample_of(row | {name: [{"role": "assistant", "content": "c", "weight": 0}]})


@given(st.lists(st.tuples(st.booleans(), st.booleans()).filter(any), min_size=2, max_size=5))
def test_the_layout_of_a_sample_is_not_that_of_another_with_other_weights(weights: list[tuple[bool, bool]]):
    cached = Encoder(TOKENIZER, "chatml")
    for first, last in weights:
        turns = QUESTION, Message("assistant", "a", has_loss=first), QUESTION, Message("assistant", "b", has_loss=last)
        loss = loss_text(cached.encode(ChatSample("0", turns)))
        assert loss == "a<|im_end|>" * first + "b<|im_end|>" * last


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "array_in",
            r":1:2: not JSON: .*; the file begins with a list: if it is one JSON list, rename it to array_in\.json$",
        ),
        ("bom_mid", ":7: there is a byte order mark before the value.*: remove the bytes EF BB BF there$"),
        ("cr_only", r":1:47: not JSON: Extra data after a CR: .*, such as `tr '\\r' '\\n' < OLD > NEW`$"),
        ("nan", ":1:40: NaN is no number of JSON: write null$"),
        ("trailing_comma", ":1:46: not JSON: Extra data, a comma after the value: .*; remove it from every line$"),
    ],
)
def test_a_file_that_another_program_wrote_differently_is_named_with_the_way_out(
    real_data: Path, name: str, words: str
):
    with pytest.raises(SampleError, match=words) as caught:
        case(real_data, f"{name}.jsonl")
    assert "truncated" not in caught.value.message


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.ndjson"])
def test_a_list_in_one_line_is_named_as_a_list(tmp_path: Path, name: str):
    path = tmp_path / name
    content = b'[{"text":"a"}]\n'
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(SampleError, match=r"the row is a list, not an object; .* rename it to rows\.json$"):
        list(read_samples(path))


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_comma_or_a_constant_in_the_last_line_is_not_called_truncated(tmp_path: Path, end: str):
    path = tmp_path / "rows.jsonl"
    for line, words in [('{"text":"a"},', "a comma after the value"), ('{"text":"NaN \\" NaN","n":NaN}', "2:26: NaN")]:
        path.write_text('{"text":"b"}\n' + line + end)
        with pytest.raises(SampleError, match=words) as caught:
            list(read_samples(path))
        assert "truncated" not in caught.value.message


def test_equal_preferences_are_counted_once_and_keep_the_numbers_of_the_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "pairs.jsonl"
    pairs = [("a", "b"), ("a", "a"), ("c", "c"), ("d", "e")]
    path.write_text("".join(json.dumps({"prompt": "q", "chosen": x, "rejected": y}) + "\n" for x, y in pairs))
    for _ in range(2):
        assert [sample.id for sample in read_samples(path)] == ["0", "1", "2", "3"]
    assert caplog.messages == [
        f"2 rows with equal chosen and rejected, the first in {path}:2: there is nothing to prefer;"
        " `prepare_samples` (command line: `lazarus data samples prepare`) leaves them out"
    ]


def test_preparing_leaves_equal_preferences_out_and_counts_them(tmp_path: Path, call: Any):
    path, output = tmp_path / "pairs.jsonl", tmp_path / "new.jsonl"
    pairs = [("a", "b"), ("a", "a"), ("c", "c"), ("d", "e")]
    path.write_text("".join(json.dumps({"prompt": "q", "chosen": x, "rejected": y}) + "\n" for x, y in pairs))
    code, _, err = call("samples", "prepare", str(path), "-o", str(output))
    assert code == 0 and "2 samples, " in err and "left out: 2 rows with equal chosen and rejected answers\n" in err
    kept = list(read_samples(output))
    assert [(each.chosen[-1].content, each.rejected[-1].content) for each in kept] == [("a", "b"), ("d", "e")]


def test_preparing_only_equal_preferences_writes_nothing(real_data: Path, tmp_path: Path, call: Any):
    output = tmp_path / "new.jsonl"
    code, _, err = call("samples", "prepare", str(real_data / "cases/pref_same.jsonl"), "-o", str(output))
    assert (code, output.exists()) == (2, False) and "[LT-E220]" in err


def test_data_of_equal_preferences_only_is_refused(real_data: Path):
    with pytest.raises(SampleError, match=r"pref_same\.jsonl:1: chosen and rejected are equal in every row") as caught:
        case(real_data, "pref_same.jsonl")
    assert caught.value.code == "LT-E220"


def test_empty_answers_are_kept_and_counted(real_data: Path, caplog: pytest.LogCaptureFixture):
    assert len(case(real_data, "chat_empty_asst.jsonl")) == 2
    (words,) = caplog.messages
    assert words.startswith("1 row with an empty answer, the first in ")
    assert "chat_empty_asst.jsonl:1: a model learns to answer nothing" in words


@pytest.mark.parametrize(
    ("row", "is_empty"),
    [
        ({"prompt": "q", "completion": " \n"}, True),
        ({"prompt": "q", "completion": "a"}, False),
        ({"prompt": "q", "chosen": "", "rejected": "b"}, True),
        ({"prompt": "q", "chosen": "a", "rejected": ""}, False),
        ({"messages": [{"role": "assistant", "content": ""}]}, True),
        ({"messages": [{"role": "assistant", "content": "", "thinking": "r"}]}, False),
        ({"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "a"}]}, False),
        (
            {"messages": [{"role": "assistant", "content": "", "weight": 0}, {"role": "assistant", "content": "a"}]},
            False,
        ),
        ({"text": ""}, False),
    ],
)
def test_an_answer_is_empty_without_text_reasoning_and_call(row: dict[str, Any], is_empty: bool):
    assert has_empty_answer(sample_of(row)) is is_empty
