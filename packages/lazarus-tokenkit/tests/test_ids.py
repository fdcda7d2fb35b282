"""Rows of token ids: what is measured and encoded is what the file says."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_plan import read_lengths
from lazarus_tokenkit import Encoder, build_lengths, encode_rows, load_tokenizer, write_encoded
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.preparation import map_texts, to_row
from lazarus_tokenkit.samples import FieldNames, IdsSample, read_samples, sample_text, to_sample
from lazarus_tokenkit.tokenizers.ids import id_array, ids_prefix

BYTE = Encoder(load_tokenizer("byte"), template="plain")
ids_of_byte = st.lists(st.integers(0, BYTE.tokenizer.vocab_size - 1), min_size=1, max_size=12)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@st.composite
def masked(draw: st.DrawFn) -> dict[str, Any]:
    ids = draw(ids_of_byte)
    mask = draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
    form = draw(st.sampled_from(["none", "labels", "loss_mask", "mask", "attention_mask"]))
    row: dict[str, Any] = {"input_ids": ids}
    if form == "labels":
        row["labels"] = [token if has_loss else -100 for token, has_loss in zip(ids, mask, strict=True)]
    elif form == "attention_mask":
        row["attention_mask"] = [1] * len(ids)
    elif form != "none":
        row[form] = [int(has_loss) for has_loss in mask]
    expected = mask if form in ("labels", "loss_mask", "mask") else [True] * len(ids)
    if form in ("none", "attention_mask") and ids[0] == BYTE.tokenizer.bos_id:
        expected = [False, *expected[1:]]
    return {"row": row, "mask": [int(each) for each in expected]}


@given(st.lists(masked(), min_size=1, max_size=5), st.sampled_from([".jsonl", ".parquet"]))
def test_ids_and_masks_are_those_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, found: list[dict[str, Any]], suffix: str
):
    path = tmp_path_factory.mktemp("ids") / f"d{suffix}"
    if suffix == ".jsonl":
        write(path, [each["row"] for each in found])
    else:
        arrow = pytest.importorskip("pyarrow")
        names = {name for each in found for name in each["row"]}
        table = arrow.table({name: [each["row"].get(name) for each in found] for name in sorted(names)})
        pytest.importorskip("pyarrow.parquet").write_table(table, path)
    rows = list(encode_rows(path, BYTE))
    assert [(row.ids, row.loss_mask) for row in rows] == [(each["row"]["input_ids"], each["mask"]) for each in found]
    assert all(row.is_text and row.h == ids_prefix(row.ids) for row in rows)
    build_lengths(path, BYTE, path.with_name("l.jsonl"))
    lengths = read_lengths(path.with_name("l.jsonl"))
    assert lengths.length.tolist() == [len(each["mask"]) for each in found]
    assert lengths.loss_tokens is not None and lengths.loss_tokens.tolist() == [sum(each["mask"]) for each in found]


def test_encoded_texts_are_read_back_with_equal_ids_and_masks(tmp_path: Path):
    pytest.importorskip("pyarrow")
    texts = write(tmp_path / "texts.jsonl", [{"text": "one"}, {"text": "zwölf\n"}, {"text": "x"}])
    chats = write(tmp_path / "chats.jsonl", [{"prompt": "1+1=", "completion": "2"}])
    for number, path in enumerate((texts, chats)):
        write_encoded(path, BYTE, tmp_path / f"{number}.parquet")
        first, second = (list(encode_rows(each, BYTE)) for each in (path, tmp_path / f"{number}.parquet"))
        assert [(row.ids, row.loss_mask, row.loss_bytes) for row in first] == [
            (row.ids, row.loss_mask, row.loss_bytes) for row in second
        ]


@given(ids_of_byte, st.data())
def test_a_digest_covers_ids_and_mask(ids: list[int], data: st.DataObject):
    place = data.draw(st.integers(0, len(ids) - 1))
    other = [*ids[:place], (ids[place] + 1) % 256, *ids[place + 1 :]]
    mask = bytes(len(ids))
    samples = [IdsSample("0", id_array(ids)), IdsSample("0", id_array(other)), IdsSample("0", id_array(ids), mask)]
    samples.append(IdsSample("0", id_array(ids), mask[:-1] + b"\1"))
    assert len({sample.digest for sample in samples}) == (3 if other == ids else 4)
    assert samples[0].digest == IdsSample("1", id_array(ids)).digest


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"input_ids": "ab"}, "`input_ids` is a text: give a list of integers"),
        ({"input_ids": []}, "`input_ids` is empty"),
        ({"input_ids": [1, 2.0]}, "`input_ids` has a value that is no integer"),
        ({"input_ids": [True]}, "`input_ids` has a value that is no integer"),
        ({"input_ids": [[1]]}, "no integer"),
        ({"input_ids": [-1]}, "not from 0 to"),
        ({"input_ids": [2**40]}, "not from 0 to"),
        ({"input_ids": [2**70]}, "out of range"),
        ({"input_ids": [1, 2], "labels": [1]}, "`labels` has 1 values for 2 ids"),
        ({"input_ids": [1, 2], "labels": [2, -100]}, "label 0 is 2, the id there is 1: .* not shifted"),
        ({"input_ids": [1], "mask": [2]}, "`mask` has a value that is neither 0 nor 1"),
        ({"input_ids": [1], "mask": [1], "labels": [1]}, "`labels` and `mask` both say"),
        ({"input_ids": [1, 0], "attention_mask": [1, 0]}, "marks padding"),
        ({"input_ids": [5, 300]}, "id 300 at place 1 is not in the vocabulary, which has 260 ids"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, row: dict[str, Any], says: str):
    path = write(tmp_path / "d.jsonl", [{"input_ids": [1, 2]}, row])
    with pytest.raises(SampleError, match=rf"d\.jsonl:2: .*{says}"):
        list(encode_rows(path, BYTE))
    with pytest.raises(SampleError, match=r"d\.jsonl:2: "):
        build_lengths(path, BYTE, tmp_path / "l.jsonl")
    assert not (tmp_path / "l.jsonl").exists()


def test_texts_of_ids_are_refused_and_their_row_is_theirs(tmp_path: Path):
    sample = IdsSample("7", id_array([5, 6]), b"\0\1")
    for use in (sample_text, lambda each: map_texts(each, str.upper)):
        with pytest.raises(SampleError, match="no text"):
            use(sample)
    assert to_row(sample) == {"id": "7", "input_ids": [5, 6], "loss_mask": [0, 1]}
    assert to_sample(to_row(sample), FieldNames(ids="input_ids"), "7") == sample
    (other,) = read_samples(write(tmp_path / "d.jsonl", [{"text": "a", "input_ids": [5]}]))
    assert sample_text(other) == "a"  # a text beside its ids is the text
