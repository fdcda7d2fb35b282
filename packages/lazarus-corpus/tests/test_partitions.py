"""Sorting on disk is sorting in memory, whatever the sizes of files and chunks are."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import suite
from lazarus_corpus import SourceSettings, build_corpus, from_files
from lazarus_corpus.documents import Removal
from lazarus_corpus.engine import partitions
from lazarus_corpus.engine.partitions import Partitions, read_records
from lazarus_corpus.engine.work import read_removals
from lazarus_corpus.output import removals
from lazarus_corpus.output.removals import write_removed
from lazarus_corpus.settings import CorpusSettings, DedupSettings, ShardSettings, SplitSettings

WORDS = [f"word{number}" for number in range(2000)]


def text(generator: random.Random, count: int) -> str:
    return " ".join(generator.choice(WORDS) for _ in range(count))


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


KIND = np.dtype([("key", "<u8"), ("number", "<u4")])
keys = st.lists(st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**63, 2**64 - 1])), max_size=40)


@given(keys, st.integers(1, 200), st.integers(1, 100))
def test_partitions_in_order_are_all_records_in_stable_order(
    tmp_path_factory: pytest.TempPathFactory, found: list[int], partition_bytes: int, chunk_bytes: int
):
    folder = tmp_path_factory.mktemp("partitions")
    records = np.zeros(len(found), KIND)
    records["key"], records["number"] = np.array(found, np.uint64), range(len(found))
    (folder / "records.bin").write_bytes(records.tobytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitions, "PARTITION_BYTES", partition_bytes)
        patch.setattr(partitions, "CHUNK_BYTES", chunk_bytes)
        parts = Partitions(folder / "parts", KIND, len(found))
        for chunk in read_records(folder / "records.bin", KIND):
            parts.add(chunk, chunk["key"])
        sorted_parts = [part[np.argsort(part["key"], kind="stable")] for part in parts]
    made = np.concatenate(sorted_parts) if sorted_parts else records
    assert made.tolist() == records[np.argsort(records["key"], kind="stable")].tolist()
    assert [path.name for path in folder.iterdir()] == ["records.bin"]


@pytest.mark.parametrize("units", ["none", "line"])
def test_a_corpus_does_not_depend_on_the_size_of_the_parts(tmp_path: Path, units: str, monkeypatch: pytest.MonkeyPatch):
    """Copies, near duplicates, shared lines, shared ids, a budget, several shards; parts of a few records."""
    generator = random.Random(8)
    line = "This very line is at the end of many of the pages of this site."
    rows = [{"id": f"d{number}", "text": f"{text(generator, 40)}\n{line}"} for number in range(60)]
    rows += [{**row, "id": f"c{number}"} for number, row in enumerate(rows[:20])]
    rows += [{"id": f"n{number}", "text": f"more {row['text']}"} for number, row in enumerate(rows[20:40])]
    rows += [{"id": "same", "text": text(generator, 40)} for _ in range(4)]
    path = write(tmp_path / "d.jsonl", rows)
    settings = CorpusSettings(
        sources=(SourceSettings(name="data", path=(path,), max_characters=12_000),),
        dedup=DedupSettings(units=units, threshold=0.7),  # pyright: ignore[reportArgumentType]
        shards=ShardSettings(characters=2_000),
        split=SplitSettings(validation=0.2),
    )
    build_corpus(settings, tmp_path / "whole")
    monkeypatch.setattr(partitions, "PARTITION_BYTES", 300)
    monkeypatch.setattr(partitions, "CHUNK_BYTES", 500)
    monkeypatch.setattr(removals, "_RUN", 3)
    monkeypatch.setattr(removals, "_MERGED", 4)
    build_corpus(settings, tmp_path / "parts")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    removed = (tmp_path / "whole/removed.jsonl").read_text()
    assert all(f'"{rule}"' in removed for rule in ("equal", "near", "budget"))


names = st.text(st.sampled_from("ab\u00e9"), max_size=3)


@given(st.lists(st.builds(Removal, names, names, st.sampled_from(["flag", "near", "length"]), names), max_size=60))
def test_removals_are_sorted_and_counted(tmp_path_factory: pytest.TempPathFactory, found: list[Removal]):
    folder = tmp_path_factory.mktemp("removals")
    (folder / "scratch").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(removals, "_RUN", 4)
        patch.setattr(removals, "_MERGED", 3)
        made = write_removed(found, folder, folder / "scratch")
    gone = sorted(each for each in found if each.rule != "flag")
    assert list(read_removals(folder / "removed.jsonl")) == gone
    assert sum(made.counts.values()) == len(gone)
    assert {rule: [each for each in gone if each.rule == rule][:3] for rule in made.counts} == made.examples
    assert (folder / "flagged.jsonl").exists() == any(each.rule == "flag" for each in found)


@pytest.mark.thorough
def test_many_documents_in_many_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    generator = random.Random(9)
    rows = [{"text": text(generator, 12)} for _ in range(suite.repeats(20_000, 2_000))]
    path = write(tmp_path / "d.jsonl", rows)
    build_corpus(from_files([path]), tmp_path / "whole")
    monkeypatch.setattr(partitions, "PARTITION_BYTES", 2_000)
    build_corpus(from_files([path]), tmp_path / "parts")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
