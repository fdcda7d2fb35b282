"""The order of rows decides nothing: a file is read alike in any order, or refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_tokenkit import FieldNames, Sample, read_samples
from lazarus_tokenkit.errors import SampleError

TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
FIELDS: dict[str, Any] = {
    "messages": TURNS,
    "conversations": TURNS,
    "prompt": [TURNS[0]],
    "chosen": TURNS,
    "rejected": [TURNS[0], {"role": "assistant", "content": "b"}],
    "completion": "a",
    "instruction": "q",
    "output": "o",
    "text": "t",
    "input_ids": [1, 2],
    "answer": "",
}
FORMS = [
    {name: FIELDS[name] for name in names.split()}
    for names in ("text", "prompt", "prompt completion", "chosen rejected")
]
ROWS = st.dictionaries(st.sampled_from(sorted(FIELDS)), st.booleans(), max_size=3).map(
    lambda found: {name: FIELDS[name] if is_given else None for name, is_given in found.items()}
)


def read(folder: Path, rows: list[dict[str, Any]], fields: FieldNames | None = None) -> list[Sample] | None:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    try:
        return list(read_samples(path, fields))
    except SampleError as error:
        assert str(path) in error.message
        return None


@given(st.tuples(st.sampled_from(FORMS), ROWS, ROWS).map(lambda found: [found[0] | each for each in found]))
def test_rows_that_can_be_read_are_read_alike_in_any_order_and_alone(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
):
    folder = tmp_path_factory.getbasetemp()
    named = [row | {"id": str(number)} for number, row in enumerate(rows)]
    together = read(folder, named)
    if together is not None:
        assert read(folder, named[::-1]) == together[::-1]
        assert [read(folder, [row]) for row in named] == [[sample] for sample in together]


@pytest.mark.parametrize(
    ("first", "later", "lacking"),
    [
        (("prompt",), ("prompt", "completion"), "`completion` would not be read"),
        (("prompt",), ("prompt", "messages"), "`messages` would not be read"),
        (("text",), ("text", "conversations"), "`conversations` would not be read"),
        (("text",), ("text", "prompt", "completion"), "`prompt` and `completion` would not be read"),
        (("prompt", "completion"), ("prompt", "completion", "chosen", "rejected"), "`chosen` and `rejected` would"),
        (("chosen", "rejected"), ("prompt", "chosen", "rejected"), "`prompt` would not be read"),
        (("input_ids",), ("input_ids", "text"), "`text` would not be read"),
    ],
)
def test_a_field_that_only_a_later_row_has_is_named(
    tmp_path: Path, first: tuple[str, ...], later: tuple[str, ...], lacking: str
):
    path = tmp_path / "rows.jsonl"
    rows = [{name: FIELDS[name] for name in names} for names in (first, first, later)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(
        SampleError, match=rf"rows\.jsonl:3: {lacking}.*the first row, .*rows\.jsonl:1, lacks"
    ) as caught:
        list(read_samples(path))
    assert caught.value.code == "LT-E311"


def test_a_prompt_with_an_answer_that_is_null_is_not_read_as_a_prompt(tmp_path: Path):
    assert read(tmp_path, [{"prompt": "a"}, {"prompt": "b", "completion": None}]) is None


def test_given_names_decide_alone(tmp_path: Path):
    rows = [{"text": "a"}, {"text": "b", "messages": TURNS, "prompt": "c"}]
    assert read(tmp_path, rows) is None
    assert len(read(tmp_path, rows, FieldNames(text="text")) or ()) == 2


def test_a_column_that_is_null_in_the_first_row_of_a_table_is_not_forgotten(tmp_path: Path):
    arrow = pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    path = tmp_path / "rows.parquet"
    table = arrow.table({"text": ["a", "b"], "messages": [None, TURNS]})
    pytest.importorskip("pyarrow.parquet").write_table(table, path)
    with pytest.raises(SampleError, match=r"rows\.parquet:2: `messages` would not be read"):
        list(read_samples(path))
