"""Rows as data sets on the hub, TRL, OpenAI and ShareGPT write them."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_tokenkit import (
    ChatSample,
    FieldNames,
    Message,
    ToolCall,
    read_samples,
)
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.samples.schemas import to_sample

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
