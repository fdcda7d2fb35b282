"""The law of encoded files: their ids and masks are those that `lazarus train` trains on, their lengths those of the cache."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from lazarus_plan import LengthRow, LengthsHeader
from lazarus_tokenkit import Encoder, FieldNames, build_lengths, load_tokenizer
from lazarus_tokenkit.encoded_data import encode_dataset, write_encoded
from lazarus_tokenkit.tokenizers.ids import ids_prefix
from lazarus_train.data.dataset import read_dataset

TOKENIZERS = {name: load_tokenizer(name) for name in ("byte", "char:0123456789+-= abc")}
ENCODERS = [
    Encoder(TOKENIZERS["byte"]),
    Encoder(TOKENIZERS["byte"], "plain"),
    Encoder(TOKENIZERS["byte"], "chatml"),
    Encoder(TOKENIZERS["char:0123456789+-= abc"], "plain"),
]
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\ufdd0\ufdd1"), max_size=12)
WORDS = st.text("0123456789+-= abc", max_size=9)
TURNS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3).map(
    lambda pairs: [
        {"role": role, "content": content}
        for pair in pairs
        for role, content in zip(("user", "assistant"), pair, strict=True)
    ]
)
ROWS: list[st.SearchStrategy[dict[str, Any]]] = [
    st.fixed_dictionaries({"prompt": TEXT, "completion": TEXT}),
    st.fixed_dictionaries({"text": WORDS}),
    st.fixed_dictionaries({"messages": TURNS}),
    st.fixed_dictionaries({"prompt": WORDS, "chosen": TEXT, "rejected": TEXT}),
    st.fixed_dictionaries({"prompt": TEXT, "completion": TEXT, "label": st.booleans()}),
]


PAIRS = [{"prompt": "a", "chosen": "b", "rejected": rejected} for rejected in ("b", "c", "b")]
"""The first and the last are equal; they keep their places."""


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[list[dict[str, Any]], FieldNames, Encoder]:
    form = draw(st.sampled_from(ROWS))
    rows = draw(st.lists(form, min_size=1, max_size=9))
    assume(any("chosen" not in row or row["chosen"] != row["rejected"] for row in rows))  # all equal is refused
    if draw(st.booleans()):
        rows = [row | {"id": f"n{number}"} for number, row in enumerate(rows)]
    is_labelled = "label" in rows[0]
    return rows, FieldNames(label="label") if is_labelled else FieldNames(), draw(st.sampled_from(ENCODERS))


def rows_of(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if path.suffix == ".parquet":
        table = parquet.read_table(path)
        return json.loads(table.schema.metadata[b"lazarus"]), table.to_pylist()
    header, *rows = map(json.loads, path.read_text("utf-8").splitlines())
    return header, rows


@given(data_sets())
@example((PAIRS, FieldNames(), ENCODERS[0]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_encoded_files_have_the_ids_masks_and_lengths_of_a_run(
    tmp_path: Path, drawn: tuple[list[dict[str, Any]], FieldNames, Encoder]
):
    rows, fields, encoder = drawn
    data = tmp_path / "d.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    dataset = read_dataset(data, encoder, fields)
    assert len(dataset) == len(rows)  # a plan numbers samples by the rows of the file
    build_lengths(data, encoder, tmp_path / "l.jsonl", fields)
    trained = [
        (name, ids.tolist(), mask.astype(int).tolist())
        for name, (ids, mask) in zip(dataset.lengths.ids, map(dataset.sample, range(len(dataset))), strict=True)
    ]
    samples = list(encode_dataset(data, encoder, fields))
    assert [(name, ids.tolist(), mask.astype(np.int8).tolist()) for name, ids, mask in samples] == trained
    for name in ("e.jsonl", "e.parquet"):
        write_encoded(data, encoder, tmp_path / name, fields)
        header, found = rows_of(tmp_path / name)
        assert [(row["id"], row["input_ids"], row["mask"]) for row in found] == trained
        assert header.pop("lazarus_encoded") == 1
        lines = [
            LengthRow(
                row["id"],
                len(row["input_ids"]),
                sum(row["mask"]),
                tuple(row["parts"]) if "parts" in row else None,
                ids_prefix(row["input_ids"]),
                row["row"],
            ).line()
            for row in found
        ]
        assert LengthsHeader(**header).line() + b"".join(lines) == (tmp_path / "l.jsonl").read_bytes()


@pytest.mark.parametrize("name", ["e.jsonl", "e.parquet"])
def test_real_conversations_have_the_ids_and_masks_of_a_run(tmp_path: Path, name: str):
    real = Path(os.environ.get("LAZARUS_TEST_DATA", Path(__file__).parents[2] / "shared/data"))
    if not (real / "datasets/gsm8k").is_dir():
        pytest.skip(f"no real data at {real}")
    lines = (real / "datasets/gsm8k/test.jsonl").read_text("utf-8").splitlines(keepends=True)
    data = tmp_path / "d.jsonl"
    data.write_text("".join(lines[:300]), "utf-8")
    encoder = Encoder(load_tokenizer(real / "models/stories260k"), "plain")
    fields = FieldNames(prompt="question", completion="answer")
    dataset = read_dataset(data, encoder, fields)
    write_encoded(data, encoder, tmp_path / name, fields)
    found = rows_of(tmp_path / name)[1]
    assert [number for row in found for number in row["input_ids"]] == dataset.ids.tolist()
    assert [number for row in found for number in row["mask"]] == dataset.loss_mask.astype(int).tolist()
