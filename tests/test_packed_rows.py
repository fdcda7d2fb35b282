"""Exported rows are those that lazarus-train computes: ids, segments and labels of every row, in every form of file."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import suite
from lazarus_core.outputs import OutputTaken
from lazarus_corpus import SettingError
from lazarus_corpus.megatron import MegatronData
from lazarus_corpus.packed import COLUMNS, PackedRow, export_packed, packed_rows
from lazarus_plan import BatchPlan, LengthCache, PlanConfig, build_plan, read_lengths, rebase_plan
from lazarus_plan.errors import StalePlan
from lazarus_tokenkit import Encoder, build_lengths, load_tokenizer
from lazarus_tokenkit.samples import FieldNames
from lazarus_train.data.batches import make_batch
from lazarus_train.data.dataset import read_dataset

BYTE = Encoder(load_tokenizer("byte"), template="plain")


def planned(folder: Path, rows: list[dict[str, Any]], **changes: Any) -> tuple[BatchPlan, Path]:
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    build_lengths(data, BYTE, folder / "lengths.jsonl")
    config = PlanConfig(**{"token_budget": 96, "row_len": 32, **changes})
    return build_plan(read_lengths(folder / "lengths.jsonl"), config), data


def texts(count: int = 12) -> list[dict[str, Any]]:
    generator = random.Random(0)
    return [{"text": "".join(generator.choices("ab \n", k=generator.randrange(1, 50)))} for _ in range(count)]


def check_rows(plan: BatchPlan, data: Path) -> None:
    dataset = read_dataset(data, BYTE, FieldNames())
    found = iter(list(packed_rows(plan, [data], BYTE)))
    for index in range(len(plan)):
        step = plan.step(index)
        batch = make_batch(step.rows, dataset, step.row_len)
        for place, row in enumerate(step.rows):
            made = next(found)
            assert (made.step, made.row) == (index, row.number)
            for ours, theirs in (
                (made.input_ids, batch.ids),
                (made.segment_ids, batch.segment_ids),
                (made.loss_mask, batch.is_label),
            ):
                assert ours.tolist() == np.array(theirs[place]).astype(int).tolist()
            for part in (each for each in batch.parts if each.row == place):
                assert made.position_ids[part.start : part.end].tolist() == list(range(part.end - part.start))
            assert not made.position_ids[made.segment_ids == 0].any()
    assert next(found, None) is None


answers = st.text("ab ", min_size=1, max_size=4)
forms = st.sampled_from(
    [
        st.fixed_dictionaries({"text": answers}),
        st.fixed_dictionaries({"prompt": answers, "completion": answers}),
        st.fixed_dictionaries({"prompt": answers, "chosen": answers.map("c".__add__), "rejected": answers}),
    ]
)


@given(forms.flatmap(lambda form: st.lists(form, min_size=1, max_size=9)), st.sampled_from(["packed", "padded"]))
@settings(max_examples=suite.examples(25))
def test_rows_are_those_that_are_trained_on(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], mode: str
):
    plan, data = planned(tmp_path_factory.mktemp("rows"), rows, mode=mode)
    check_rows(plan, data)


def test_pieces_of_a_split_sample_are_rows_too(tmp_path: Path):
    """The first token of a piece is not predicted, though it carries loss in the sample."""
    plan, data = planned(tmp_path, texts(), oversize="split", row_len=16)
    assert any(segment.span for row in plan.step(0).rows for segment in row.segments)
    check_rows(plan, data)


def same(found: list[PackedRow], made: list[PackedRow]) -> bool:
    return len(found) == len(made) and all(
        one[:2] == other[:2] and all(np.array_equal(*pair) for pair in zip(one[2:], other[2:], strict=True))
        for one, other in zip(found, made, strict=True)
    )


def test_parquet_and_arrays_have_every_row(tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    plan, data = planned(tmp_path, texts(), oversize="split")
    rows = list(packed_rows(plan, [data], BYTE))
    assert export_packed(plan, [data], BYTE, tmp_path / "p.parquet") == len(rows) > 8
    table = parquet.read_table(tmp_path / "p.parquet")
    read = [PackedRow(row["step"], row["row"], *(np.array(row[name]) for name in COLUMNS)) for row in table.to_pylist()]
    assert same(read, rows)
    assert json.loads(table.schema.metadata[b"lazarus"])["plan_id"] == plan.plan_id
    assert export_packed(plan, [data], BYTE, tmp_path / "arrays") == len(rows)
    arrays = [np.load(tmp_path / "arrays" / f"{name}.npy", mmap_mode="r") for name in ("places", *COLUMNS)]
    assert same([PackedRow(*map(int, place), *each) for place, *each in zip(*arrays, strict=True)], rows)
    first = {path.name: path.read_bytes() for path in (tmp_path / "arrays").iterdir()}
    export_packed(plan, [data], BYTE, tmp_path / "arrays")  # its own output is replaced
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "arrays").iterdir()}


def test_megatron_has_a_document_a_row_and_a_sequence_a_sample(tmp_path: Path):
    plan, data = planned(tmp_path, texts(), oversize="split")
    rows = list(packed_rows(plan, [data], BYTE))
    assert export_packed(plan, [data], BYTE, tmp_path / "m.idx") == len(rows)
    for document, row in zip(MegatronData(tmp_path / "m").by_document(), rows, strict=True):
        assert len(document) == row.segment_ids.max()
        assert np.concatenate(document).tolist() == row.input_ids[row.segment_ids > 0].tolist()
    plan, data = planned(tmp_path, [{"prompt": "ab", "completion": "c"}])
    with pytest.raises(SettingError, match="step 0, row 0: token 1 carries no loss"):
        export_packed(plan, [data], BYTE, tmp_path / "n.idx")
    assert not (tmp_path / "n.idx").exists() and not (tmp_path / "n.bin").exists()


def test_what_is_not_the_plans_is_refused(tmp_path: Path):
    plan, data = planned(tmp_path, texts(), oversize="split")
    with pytest.raises(SettingError, match="give `data` once for each"):
        list(packed_rows(plan, [data, data], BYTE))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.doc").write_text("x")
    with pytest.raises(OutputTaken):
        export_packed(plan, [data], BYTE, tmp_path / "mine")
    (tmp_path / "m.bin").write_text("x")
    with pytest.raises(OutputTaken):
        export_packed(plan, [data], BYTE, tmp_path / "m.idx")
    data.write_text(data.read_text().replace("a", "b", 1))
    with pytest.raises(StalePlan):
        list(packed_rows(plan, [data], BYTE))


def test_rows_of_a_plan_with_ranges_of_numbers_are_those_that_are_trained_on(tmp_path: Path):
    """A plan that was rebased after rows were appended to the first of two sources."""
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]

    def measured(*contents: list[dict[str, Any]]) -> list[LengthCache]:
        for path, rows in zip(files, contents, strict=True):
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            build_lengths(path, BYTE, path.with_suffix(".lengths"), force=True)
        return [read_lengths(path.with_suffix(".lengths")) for path in files]

    rows = texts(20)
    config = PlanConfig(token_budget=96, row_len=64)
    parent = build_plan(measured(rows[:6], rows[6:12]), config)
    plan = rebase_plan(parent, 1, measured([*rows[:6], *rows[12:]], rows[6:12]))
    assert plan.metadata.numbering == ((0, 6), (1, 6), (0, 8))
    (tmp_path / "by_number.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    by_number = read_dataset(tmp_path / "by_number.jsonl", BYTE, FieldNames())
    planned_rows = (row for step in map(plan.step, range(len(plan))) for row in step.rows)
    placed: list[list[int]] = []
    for found, row in zip(packed_rows(plan, files, BYTE), planned_rows, strict=True):
        for segment in row.segments:
            ids = found.input_ids[segment.start : segment.end].tolist()
            assert ids == by_number.sample(segment.sample, segment.span)[0].tolist()
            placed.append(ids)
    assert len(placed) == len(rows)
