"""Indexed data sets of Megatron: golden bytes, and the law that reading gives what was written."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_corpus.errors import OutputError, SettingError
from lazarus_corpus.megatron import MegatronData, write_megatron

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
