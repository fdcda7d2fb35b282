"""Lengths of samples in memory are those of the same samples in a file."""

import json
from pathlib import Path

import pytest

from lazarus_plan import read_lengths
from lazarus_plan.errors import LengthsError
from lazarus_tokenkit import (
    CompletionSample,
    Encoder,
    PreferenceSample,
    TextSample,
    build_lengths,
    load_tokenizer,
    read_samples,
)
from lazarus_tokenkit.lengths import in_memory as module
from lazarus_tokenkit.lengths import measure_samples
from lazarus_tokenkit.samples.kinds import Message

BYTE = Encoder(load_tokenizer("byte"), "plain")


@pytest.mark.parametrize(
    "rows",
    [
        [{"prompt": f"{n}+{n}=", "completion": str(2 * n)} for n in range(25)],
        [{"text": "a" * n, "id": f"t{n}"} for n in range(7)],
        [{"prompt": f"{n}?", "chosen": "yes" * n, "rejected": "no"} for n in range(5)],
    ],
)
def test_the_cache_is_that_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, str]]):
    monkeypatch.setattr(module, "CHUNK", 4)
    data = tmp_path / "d.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    built = build_lengths(data, BYTE, tmp_path / "l.jsonl")
    cache = measure_samples(read_samples(data), BYTE)
    assert cache.digest == read_lengths(tmp_path / "l.jsonl").digest
    assert cache.header.identity_line() == built.identity_line()
    assert {**cache.header.parts, "data": built.parts["data"]} == built.parts and cache.name == "memory"


def test_samples_are_named_where_they_are_wrong():
    with pytest.raises(LengthsError, match="there are no samples") as caught:
        measure_samples([], BYTE)
    assert caught.value.code == "LP-E002"
    with pytest.raises(LengthsError, match="id 'a' is in line 2 too"):
        measure_samples([TextSample("a", "x"), TextSample("a", "y")], BYTE)


def test_kinds_of_samples_may_be_mixed():
    pair = PreferenceSample("c", (Message("user", "?"),), (Message("assistant", "1"),), (Message("assistant", "2"),))
    cache = measure_samples([TextSample("a", "x"), CompletionSample("b", "1", "2"), pair], BYTE, name="mine")
    assert len(cache) == 3 and cache.name == "mine"
