"""Length caches of rows in memory: the same as files of the same rows."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_core.canonical import canonical_digest
from lazarus_plan import (
    LengthCache,
    LengthRow,
    LengthsHeader,
    PlanConfig,
    build_plan,
    make_lengths,
    read_lengths,
    save_lengths,
)
from lazarus_plan.errors import LengthsError
from lazarus_plan.format import merkle_root

IDS = st.lists(st.integers(0, 2**32 - 1), max_size=9)


def test_lengths_alone_plan_as_a_file_of_them(tmp_path: Path):
    lengths = [40, 24, 60, 9, 33]
    (tmp_path / "l.jsonl").write_text("".join(f'{{"id":"s{n}","length":{each}}}\n' for n, each in enumerate(lengths)))
    cache = make_lengths((f"s{n}", each) for n, each in enumerate(lengths))
    config = PlanConfig(token_budget=128, row_len=64)
    assert cache.header == LengthsHeader(5) and cache.digest == read_lengths(tmp_path / "l.jsonl").digest
    assert build_plan(cache, config).plan_id == build_plan(read_lengths(tmp_path / "l.jsonl"), config).plan_id
    assert make_lengths([(f"s{n}", each) for n, each in enumerate(np.array(lengths))]).digest == cache.digest


@given(st.lists(st.tuples(IDS, st.booleans()), min_size=1, max_size=5))
def test_token_ids_are_fingerprinted(drawn: list[tuple[list[int], bool]]):
    rows = [(f"s{n}", ids, [int(flag) for _ in ids]) for n, (ids, flag) in enumerate(drawn)]
    cache = make_lengths(rows)
    digests = [bytes.fromhex(canonical_digest({"input_ids": ids, "mask": mask})[7:]) for _, ids, mask in rows]
    assert cache.header == LengthsHeader(len(rows), f"sha256:{merkle_root(digests).hex()}")
    due = [
        LengthRow(
            name,
            len(ids),
            sum(mask),
            None,
            hashlib.sha256(np.array(ids, dtype="<u4").tobytes()).hexdigest()[:8],
            digest.hex()[:8],
        )
        for (name, ids, mask), digest in zip(rows, digests, strict=True)
    ]
    assert cache.digest == LengthCache.from_rows(due, cache.header).digest
    unmasked = make_lengths((name, np.array(ids, dtype=np.int64)) for name, ids, _ in rows)
    digests = [bytes.fromhex(canonical_digest({"input_ids": ids})[7:]) for _, ids, _ in rows]
    assert unmasked.header.data == f"sha256:{merkle_root(digests).hex()}" and unmasked.loss_tokens is None


@pytest.mark.parametrize("mask", [[0, 1], (False, True), np.array([False, True]), np.array([0, 1], dtype=np.int8)])
def test_masks_of_any_kind_are_the_same(mask: Any):
    assert make_lengths([("a", [5, 6], mask)]).digest == make_lengths([("a", [5, 6], [0, 1])]).digest


def test_digests_that_the_caller_has_go_into_the_plan():
    rows = [("a", [1, 2, 3]), ("b", [4])]
    config = PlanConfig(token_budget=8, row_len=8)
    given = {"data": "sha256:" + "d" * 64, "template": "sha256:" + "e" * 64, "tokenizer": "sha256:" + "f" * 64}
    cache = make_lengths(rows, **given, encoding={"bos": True}, name="mine")
    assert cache.header == LengthsHeader(2, **given, encoding={"bos": True}) and cache.name == "mine"
    plans = [build_plan(each, config) for each in (make_lengths(rows), cache, make_lengths(rows, tokenizer="sha256:1"))]
    assert len({plan.plan_id for plan in plans}) == 3 and plans[1].encoding == {"bos": True}
    assert plans[1].prefixes is not None


@pytest.mark.parametrize(
    ("rows", "words", "code"),
    [
        ([], "there are no rows", "LP-E002"),
        ([("a", 1), ("a", 2)], "id 'a' is in line 2 too", "LP-E120"),
        ([("a", 1), ("b", [1])], "row 1 has another form than row 0", "LP-E200"),
        ([("a", [1]), ("b", 1)], "row 1 has another form than row 0", "LP-E200"),
        ([("a", -1)], r"row 0: length -1 is outside 0..2^53-1", "LP-E200"),
        ([("a", 2**53)], "is outside", "LP-E200"),
        ([("a", True)], "row 0 is tuple: give (id, length), (id, token ids)", "LP-E200"),
        ([("a", 1.5)], "give (id, length)", "LP-E200"),
        ([("a", "text")], "give (id, length)", "LP-E200"),
        ([(7, 1)], "the id a text", "LP-E200"),
        (["ab"], "row 0 is str", "LP-E200"),
        ([("a", [1, -1])], "row 0: token ids have to be integers of 0..2^32-1", "LP-E200"),
        ([("a", [2**32])], "token ids have to be integers", "LP-E200"),
        ([("a", [1.5])], "token ids have to be integers", "LP-E200"),
        ([("a", [1, 2], [1])], "row 0: 2 ids, but a mask of 1", "LP-E200"),
        ([("a", [1, 2], [1, 2])], "row 0: the mask is 2 at 1, not 0 or 1", "LP-E200"),
        ([("", 1)], "row 0: the id has 0 bytes; give 1 to 4096", "LP-E200"),
        ([("x" * 4097, 1)], "row 0: the id has 4097 bytes", "LP-E200"),
    ],
)
def test_other_rows_are_refused_with_their_number(rows: list[Any], words: str, code: str):
    with pytest.raises(LengthsError) as caught:
        make_lengths(rows)
    assert words in caught.value.message and caught.value.code == code


@pytest.mark.parametrize("rows", [[("a", 3), ("b", 0)], [("a", [1, 2]), ("b", [3])], [("a", [1, 2], [0, True])]])
def test_what_is_saved_is_read(tmp_path: Path, rows: list[Any]):
    cache = make_lengths(rows, tokenizer="sha256:1")
    save_lengths(cache, tmp_path / "l.jsonl")
    read = read_lengths(tmp_path / "l.jsonl")
    assert (read.digest, read.header) == (cache.digest, cache.header)
    assert list(read.ids) == list(cache.ids) and read.length.tolist() == cache.length.tolist()


def test_members_that_are_not_kept_are_not_lost_in_silence(tmp_path: Path):
    cache = LengthCache.from_rows([LengthRow("a", 5, 2, parts=(2, 3))])
    with pytest.raises(LengthsError, match="members that are not kept in memory") as caught:
        save_lengths(cache, tmp_path / "l.jsonl")
    assert caught.value.code == "LP-E201" and list(tmp_path.iterdir()) == []
