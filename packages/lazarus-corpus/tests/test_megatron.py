"""Indexed data sets of Megatron: golden bytes, and the law that reading gives what was written."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_corpus.errors import OutputError, SettingError
from lazarus_corpus.megatron import MegatronData, write_megatron
from lazarus_plan import PlanConfig, build_plan, read_lengths, save_plan, verify_plan
from lazarus_plan.errors import StalePlan
from lazarus_tokenkit import Encoder, build_lengths, encode_rows, load_tokenizer
from lazarus_tokenkit.errors import SampleError

BYTE = Encoder(load_tokenizer("byte"), template="plain")

GOLDEN_INDEX = bytes.fromhex(
    "4d4d4944494458 0000"  # MMIDIDX, two zero bytes
    "0100000000000000 08 0300000000000000 0300000000000000"  # version 1, u16, three sequences, three boundaries
    "02000000 00000000 01000000"  # lengths 2, 0, 1
    "0000000000000000 0400000000000000 0400000000000000"  # offsets in bytes
    "0000000000000000 0200000000000000 0300000000000000".replace(" ", "")  # documents begin at 0 and 2
)
"""Worked out by hand from Megatron-LM's indexed_dataset.py (see the module)."""


def test_golden_bytes(tmp_path: Path):
    assert write_megatron(tmp_path / "d", [[[1, 258], []], [[7]]], 1000) == (3, 2)
    assert (tmp_path / "d.idx").read_bytes() == GOLDEN_INDEX
    assert (tmp_path / "d.bin").read_bytes() == bytes([1, 0, 2, 1, 7, 0])


documents = st.lists(st.lists(st.lists(st.integers(0, 70_000), max_size=6), max_size=3), max_size=6)


@given(documents, st.booleans())
def test_what_is_read_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, found: list[list[list[int]]], small: bool
):
    prefix = tmp_path_factory.mktemp("m") / "d"
    if small:
        found = [[[each % 60_000 for each in ids] for ids in document] for document in found]
    write_megatron(prefix, found, 60_000 if small else 70_001)
    data = MegatronData(prefix)
    assert [[ids.tolist() for ids in document] for document in data.by_document()] == found
    assert data.type == np.dtype("<u2" if small else "<i4")
    assert len(data) == sum(map(len, found))


def test_wrong_ids_and_damaged_files_are_refused(tmp_path: Path):
    with pytest.raises(SettingError, match="document 1"):
        write_megatron(tmp_path / "x", [[[1]], [[5]]], 5)
    assert not list(tmp_path.iterdir())
    write_megatron(tmp_path / "d", [[[1, 2]], [[3]]], 10)
    whole = (tmp_path / "d.idx").read_bytes()
    for cut in range(len(whole)):
        (tmp_path / "d.idx").write_bytes(whole[:cut])
        with pytest.raises(OutputError):
            MegatronData(tmp_path / "d")
    (tmp_path / "d.idx").write_bytes(whole)
    (tmp_path / "d.bin").write_bytes(b"\0\0")
    with pytest.raises(OutputError, match="damaged"):
        MegatronData(tmp_path / "d")


@given(st.lists(st.lists(st.lists(st.integers(0, 259), max_size=6), min_size=1, max_size=3), min_size=1, max_size=6))
def test_the_ids_that_are_trained_on_are_those_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, found: list[list[list[int]]]
):
    """A sample is a document: the ids of its sequences, joined."""
    found = [[[7], *document] for document in found]  # an empty document is refused
    prefix = tmp_path_factory.mktemp("m") / "d.v1"
    write_megatron(prefix, found, 260)
    for path in (prefix, prefix.with_name("d.v1.idx")):
        rows = list(encode_rows(path, BYTE))
        assert [row.ids for row in rows] == [list(chain(*document)) for document in found]
        assert all(row.loss_mask == [1] * len(row.ids) for row in rows)
        header = build_lengths(path, BYTE, prefix.with_name("lengths.jsonl"))
        assert [file["name"] for file in header.parts["data"]["files"]] == ["d.v1.idx", "d.v1.bin"]
    lengths = read_lengths(prefix.with_name("lengths.jsonl"))
    assert lengths.length.tolist() == [sum(map(len, document)) for document in found]


def test_a_plan_covers_both_files(tmp_path: Path):
    write_megatron(tmp_path / "d", [[[1, 2, 3]], [[4, 5]]], 260)
    build_lengths(tmp_path / "d.idx", BYTE, tmp_path / "lengths.jsonl")
    plan = build_plan(read_lengths(tmp_path / "lengths.jsonl"), PlanConfig(token_budget=8, row_len=8))
    save_plan(plan, tmp_path / "plan")
    for path in (tmp_path / "d", tmp_path / "d.idx"):
        assert any("SHA-256" in line for line in verify_plan(tmp_path / "plan", data=[path]))
    content = bytearray((tmp_path / "d.bin").read_bytes())
    content[0] ^= 1
    (tmp_path / "d.bin").write_bytes(content)
    with pytest.raises(StalePlan, match=r"d\.bin is not the d\.bin that the plan was made from"):
        list(verify_plan(tmp_path / "plan", data=[tmp_path / "d.idx"]))


def test_ids_that_cannot_be_trained_on_are_named(tmp_path: Path):
    write_megatron(tmp_path / "d", [[[1]], [[2, 300]]], 1000)
    with pytest.raises(SampleError, match=r"d\.idx:2: .*id 300 at place 1 is not in the vocabulary"):
        build_lengths(tmp_path / "d.idx", BYTE, tmp_path / "lengths.jsonl")
    write_megatron(tmp_path / "e", [[[1]], [[]]], 1000)
    with pytest.raises(SampleError, match=r"e\.idx:2: `input_ids` is empty"):
        list(encode_rows(tmp_path / "e.idx", BYTE))
    (tmp_path / "d.bin").unlink()
    with pytest.raises(SampleError, match=r"d\.bin: no such file"):
        list(encode_rows(tmp_path / "d.idx", BYTE))
    whole = bytearray((tmp_path / "e.idx").read_bytes())
    whole[17] = 7  # floats
    (tmp_path / "e.idx").write_bytes(whole)
    with pytest.raises(SampleError):
        list(encode_rows(tmp_path / "e.idx", BYTE))
