"""A corpus is a function of the set of documents: laws over order, files, workers and interruptions; planted documents."""

import fcntl
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import suite
from lazarus_core.errors import LazarusError, OutputTaken
from lazarus_corpus import (
    CorpusSettings,
    OutputError,
    SettingError,
    SourceError,
    analyze_corpus,
    build_corpus,
    from_files,
    verify_corpus,
)
from lazarus_corpus.cli.app import app
from lazarus_corpus.output.verify import require_whole
from lazarus_corpus.settings import (
    CleaningSettings,
    ContaminationSettings,
    DedupSettings,
    FilterSettings,
    ShardSettings,
    SourceSettings,
    SplitSettings,
)

WORDS = [f"word{number}" for number in range(2000)]


def text(generator: random.Random, count: int = 120) -> str:
    return " ".join(generator.choice(WORDS) for _ in range(count))


def write(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kept(folder: Path) -> list[dict[str, str]]:
    shards = sorted((folder / "shards").iterdir())
    return [json.loads(line) for shard in shards for line in gzip.decompress(shard.read_bytes()).splitlines()]


def removed(folder: Path) -> dict[str, dict[str, str]]:
    lines = (folder / "removed.jsonl").read_text().splitlines()
    return {each["id"]: each for each in map(json.loads, lines)}


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """200 documents; 20 near duplicates with one word changed; chains of near duplicates; copies under another id."""
    generator = random.Random(7)
    texts = [text(generator) for _ in range(200)]
    found = [{"id": f"d{number}", "text": each} for number, each in enumerate(texts)]
    for number in range(20):
        words = texts[number].split()
        words[generator.randrange(len(words))] = "changed"
        found.append({"id": f"n{number}", "text": " ".join(words)})
    words = texts[30].split()
    for link in range(1, 8):  # each resembles the one before; the ends resemble each other less
        words[15 * link] = f"link{link}"
        found.append({"id": f"c{link}", "text": " ".join(words)})
    found += [{"id": f"e{number}", "text": texts[100 + number], "group": "g"} for number in range(3)]
    return found


CHANGES = {"split": SplitSettings(validation=0.1), "shards": ShardSettings(characters=60_000)}


def test_equal_bytes_for_all_orders_files_and_workers(rows: list[dict[str, Any]], tmp_path: Path):
    first = tmp_path / "first"
    build_corpus(from_files([write(tmp_path / "all.jsonl", rows)], **CHANGES), first)
    expected = contents(first)
    assert len([name for name in expected if name.startswith("shards/")]) >= 3
    for order in range(suite.repeats(5, 3)):
        generator = random.Random(order)
        shuffled = generator.sample(rows, len(rows))
        for files in (1, 2, 7):
            paths = [write(tmp_path / f"{order}-{part}.jsonl", shuffled[part::files]) for part in range(files)]
            generator.shuffle(paths)
            folder = tmp_path / f"o{order}f{files}"
            build_corpus(from_files(paths, **CHANGES), folder)
            assert contents(folder) == expected
    several = tmp_path / "several"
    paths = [write(tmp_path / f"w{part}.jsonl", rows[part::3]) for part in range(3)]
    build_corpus(from_files(paths, **CHANGES), several, workers=2)
    assert contents(several) == expected


def test_planted_near_duplicates_go_with_their_witness(rows: list[dict[str, Any]], tmp_path: Path):
    build_corpus(from_files([write(tmp_path / "all.jsonl", rows)]), tmp_path / "out")
    gone, names = removed(tmp_path / "out"), {row["id"] for row in kept(tmp_path / "out")}
    pairs = [(f"d{number}", f"n{number}") for number in range(20)]
    found = [pair for pair in pairs if len(gone.keys() & set(pair)) == 1]
    assert len(found) >= 19
    for pair in found:
        (lost,) = gone.keys() & set(pair)
        assert gone[lost]["rule"] == "near" and gone[lost]["witness"] in set(pair) - {lost}
    chain = {"d30", *(f"c{link}" for link in range(1, 8))}
    (survivor,) = chain & names
    assert all(gone[name]["witness"].split()[0] == survivor for name in chain - {survivor})
    assert any(" through " in gone[name]["witness"] for name in chain - {survivor})
    assert not {f"d{number}" for number in range(31, 100)} & gone.keys()
    for number in range(3):
        (copy,) = gone.keys() & {f"d{100 + number}", f"e{number}"}
        assert (copy, gone[copy]["rule"]) == (f"e{number}", "equal")  # "d100" < "e0"
        assert gone[copy]["witness"] == f"d{100 + number}"


def test_no_group_and_no_text_is_in_both_splits(tmp_path: Path):
    generator = random.Random(1)
    rows = [
        {"id": f"{tree}-{turn}", "group": f"tree{tree}", "text": text(generator)}
        for tree in range(60)
        for turn in range(4)
    ]
    settings = from_files([write(tmp_path / "trees.jsonl", rows)], split=SplitSettings(validation=0.3))
    build_corpus(settings, tmp_path / "out")
    sides: dict[str, set[str]] = {}
    for shard in (tmp_path / "out/shards").iterdir():
        for line in gzip.decompress(shard.read_bytes()).splitlines():
            sides.setdefault(json.loads(line)["group"], set()).add(shard.name.partition("-")[0])
    assert all(len(side) == 1 for side in sides.values())
    assert {side for each in sides.values() for side in each} == {"train", "validation"}


def test_each_rule_counts_exactly_what_was_planted(tmp_path: Path):
    generator = random.Random(2)
    good = [{"id": f"g{number}", "text": text(generator)} for number in range(40)]
    bad = [
        {"id": "short", "text": "a b"},
        {"id": "empty", "text": " \n"},
        {"id": "long", "text": text(generator, 4000)},
        {"id": "mail", "text": text(generator) + " ann@example.org"},
        {"id": "phone", "text": text(generator) + " +49 30 901820"},
        {"id": "address", "text": text(generator) + " 192.168.0.1"},
    ]
    settings = from_files(
        [write(tmp_path / "d.jsonl", good + bad)],
        cleaning=CleaningSettings(personal_data="drop"),
        filters=FilterSettings(min_characters=10, max_characters=20_000),
    )
    report = build_corpus(settings, tmp_path / "out")
    assert report.removed == {"length": 3, "personal_data": 3}
    assert removed(tmp_path / "out").keys() == {row["id"] for row in bad}
    assert report.documents == 40 == len(kept(tmp_path / "out"))
    counted = analyze_corpus(settings, tmp_path / "work")
    assert counted == report._replace(digest="")


def test_documents_that_share_an_id_are_told_apart(tmp_path: Path):
    generator = random.Random(3)
    rows = [
        {"id": "same", "text": text(generator)},
        {"id": "same", "text": text(generator)},
        {"id": "x", "text": text(generator)},
    ]
    build_corpus(from_files([write(tmp_path / "d.jsonl", rows)]), tmp_path / "out")
    names = [row["id"] for row in kept(tmp_path / "out")]
    assert len(set(names)) == 3 and sum(name.startswith("same-") for name in names) == 2 and "x" in names


def test_a_budget_takes_the_same_documents_of_any_order(tmp_path: Path):
    generator = random.Random(4)
    rows = [{"id": str(number), "text": text(generator)} for number in range(50)]
    found: list[set[str]] = []
    for turn in range(2):
        path = write(tmp_path / f"{turn}.jsonl", rows[:: 1 - 2 * turn])
        config = tmp_path / f"{turn}.toml"
        config.write_text(f'[[sources]]\nname = "a"\npath = ["{path.name}"]\nmax_characters = 20000\n')
        done = CliRunner().invoke(app, ["build", str(config), "-o", str(tmp_path / f"out{turn}"), "--json"])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout.splitlines()[0])["characters"] <= 20_000
        found.append({row["id"] for row in kept(tmp_path / f"out{turn}")})
    assert found[0] == found[1] and 10 < len(found[0]) < 50


def test_a_source_with_a_budget_may_have_no_documents_left(tmp_path: Path):
    generator = random.Random(4)
    rows = [{"id": str(number), "text": text(generator)} for number in range(5)]
    first = write(tmp_path / "a.jsonl", rows)
    second = write(tmp_path / "b.jsonl", [{**row, "id": "z" + row["id"]} for row in rows])
    sources = (
        SourceSettings(name="a", path=(first,)),
        SourceSettings(name="b", path=(second,), max_characters=100),
    )
    report = build_corpus(CorpusSettings(sources=sources), tmp_path / "out")
    assert report.removed == {"equal": 5} and {row["source"] for row in kept(tmp_path / "out")} == {"a"}


def test_lines_that_many_documents_have_stay_in_one(tmp_path: Path):
    generator = random.Random(5)
    line = "This very line is at the end of each of the pages of this site."
    rows = [{"id": str(number), "text": f"{text(generator)}\n{line}"} for number in range(30)]
    settings = {"dedup": DedupSettings(units="line")}
    build_corpus(from_files([write(tmp_path / "a.jsonl", rows)], **settings), tmp_path / "a")
    build_corpus(from_files([write(tmp_path / "b.jsonl", rows[::-1])], **settings), tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert sum(line in row["text"] for row in kept(tmp_path / "a")) == 1
    assert len(kept(tmp_path / "a")) == 30


def test_a_document_that_a_rule_removes_keeps_no_line_from_others(tmp_path: Path):
    """Whatever the digests are, a line stays in one of the documents that are left."""
    generator = random.Random(6)
    line = "This very line is at the end of each of the pages of this site."
    rows = [{"id": str(number), "text": f"{text(generator)}\n{line}"} for number in range(4)]
    rows += [
        {"id": f"mail{number}", "text": f"{text(generator)} ann{number}@example.org\n{line}"} for number in range(30)
    ]
    settings = from_files(
        [write(tmp_path / "d.jsonl", rows)],
        dedup=DedupSettings(units="line"),
        cleaning=CleaningSettings(personal_data="drop"),
    )
    assert build_corpus(settings, tmp_path / "out").removed == {"personal_data": 30}
    assert sum(line in row["text"] for row in kept(tmp_path / "out")) == 1


def test_what_is_dropped_for_personal_data_is_not_published(tmp_path: Path):
    rows = [{"id": "mail", "text": "ann@example.org and +49 30 901820"}, {"id": "other", "text": "A text of its own."}]
    settings = from_files([write(tmp_path / "d.jsonl", rows)], cleaning=CleaningSettings(personal_data="drop"))
    build_corpus(settings, tmp_path / "out")
    written = b"".join(contents(tmp_path / "out").values()).decode("utf-8", "replace")
    assert "[EMAIL]" in written and "ann@" not in written and "901820" not in written


def test_an_analysis_needs_no_output(tmp_path: Path):
    path = write(tmp_path / "d.jsonl", [{"text": "one"}, {"text": "one"}])
    done = CliRunner().invoke(app, ["build", "-d", str(path), "--analyze-only", "--json"])
    assert json.loads(done.stdout)["removed"] == {"equal": 1}
    assert CliRunner().invoke(app, ["build", "-d", str(path)]).exit_code == 2
    assert [each.name for each in tmp_path.iterdir()] == ["d.jsonl"]


@pytest.mark.slow
def test_a_killed_build_goes_on_to_equal_bytes(rows: list[dict[str, Any]], tmp_path: Path):
    paths = [write(tmp_path / f"{part}.jsonl", rows[part::7]) for part in range(7)]
    data = [word for path in paths for word in ("-d", str(path))]
    build_corpus(from_files(paths), tmp_path / "whole")
    command = [sys.executable, "-m", "lazarus_corpus", "build", *data, "-o", str(tmp_path / "out")]
    for wait in (0.5, 0.7, 0.9):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "out").exists() or contents(tmp_path / "out") == contents(tmp_path / "whole")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_second_build_of_an_output_is_refused(rows: list[dict[str, Any]], tmp_path: Path):
    path = write(tmp_path / "d.jsonl", rows[:9])
    lock = tmp_path / "new/.out.lock"
    lock.parent.mkdir()
    words = ["build", "-d", str(path), "-o", str(tmp_path / "new/out")]
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = CliRunner().invoke(app, words)
        assert isinstance(done.exception, OutputError) and done.exception.exit_code == 2
        assert done.exception.code == "LD-E148" and not (tmp_path / "new/out").exists()
        assert build_corpus(from_files([path]), tmp_path / "new/other").read == 9
    assert lock.exists()  # as after a kill: no process holds it
    assert CliRunner().invoke(app, words).exit_code == 0
    assert sorted(each.name for each in lock.parent.iterdir()) == ["other", "out"]


def test_work_of_other_settings_is_not_used(
    rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write(tmp_path / "d.jsonl", rows)
    from lazarus_corpus import build

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(build, "_publish", fail)
        with pytest.raises(KeyboardInterrupt):
            build_corpus(from_files([path]), tmp_path / "out")
    build_corpus(from_files([path], dedup=DedupSettings(near=False)), tmp_path / "out")
    assert not any(each["rule"] == "near" for each in removed(tmp_path / "out").values())
    with monkeypatch.context() as patch:
        patch.setattr(build, "_publish", fail)
        with pytest.raises(KeyboardInterrupt):
            build_corpus(from_files([path]), tmp_path / "out2")
    write(path, rows[:50])
    assert build_corpus(from_files([path]), tmp_path / "out2").read == 50
    with monkeypatch.context() as patch:
        patch.setattr(build, "_publish", fail)
        patch.setattr("lazarus_corpus.engine.work.__version__", "0.0.1")  # an earlier version was interrupted
        with pytest.raises(KeyboardInterrupt):
            build_corpus(from_files([path]), tmp_path / "out3")
    done = tmp_path / ".out3.work/ingest/00000/report.json"
    done.write_text("{}")
    assert build_corpus(from_files([path]), tmp_path / "out3").read == 50


def test_a_flipped_byte_is_named_and_stops_the_next_stage(rows: list[dict[str, Any]], tmp_path: Path):
    path = write(tmp_path / "d.jsonl", rows)
    build_corpus(from_files([path], **CHANGES), tmp_path / "out")
    assert all(check.ok for check in verify_corpus(tmp_path / "out", from_files([path])))
    shard = sorted((tmp_path / "out/shards").iterdir())[1]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(OutputError, match=shard.name):
        require_whole(tmp_path / "out")
    done = CliRunner().invoke(app, ["verify", str(tmp_path / "out")])
    assert done.exit_code == 1 and f"BAD shards/{shard.name}" in done.output
    shard.unlink()
    (tmp_path / "out/shards/other.jsonl.gz").write_bytes(b"")
    found = {check.name: check.found for check in verify_corpus(tmp_path / "out") if not check.ok}
    assert found == {f"shards/{shard.name}": "missing", "shards/other.jsonl.gz": "not in the manifest"}
    manifest = tmp_path / "out/manifest.json"
    manifest.write_text(manifest.read_text().replace('"documents"', '"Documents"', 1))
    with pytest.raises(OutputError, match="was changed"):
        list(verify_corpus(tmp_path / "out"))


def test_a_shard_is_compared_by_its_content(rows: list[dict[str, Any]], tmp_path: Path):
    build_corpus(from_files([write(tmp_path / "d.jsonl", rows)]), tmp_path / "out")
    (shard,) = [path for path in (tmp_path / "out/shards").iterdir() if path.name.startswith("train")]
    content = gzip.decompress(shard.read_bytes())
    for other, ok in ((content, True), (content.replace(b"word1", b"word2", 1), False), (content[:-1], False)):
        shard.write_bytes(gzip.compress(other, 1))
        (check,) = [each for each in verify_corpus(tmp_path / "out") if each.name == f"shards/{shard.name}"]
        assert check.ok == ok, check.found


def test_verify_walks_back_to_the_sources(rows: list[dict[str, Any]], tmp_path: Path):
    path = write(tmp_path / "d.jsonl", rows)
    build_corpus(from_files([path]), tmp_path / "out")
    write(path, [*rows[1:], {**rows[0], "text": "another"}])
    (source,) = [check for check in verify_corpus(tmp_path / "out", from_files([path])) if check.name == "source data"]
    assert not source.ok


def test_an_unknown_tokenizer_is_refused_before_the_work(rows: list[dict[str, Any]], tmp_path: Path):
    work = tmp_path / ".out.work"  # of a build that was killed
    work.mkdir()
    (work / "spec.json").write_text("{}")
    with pytest.raises(LazarusError, match="no tokenizer `nothing`"):
        build_corpus(from_files([write(tmp_path / "d.jsonl", rows)]), tmp_path / "out", tokenizer="nothing")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.work", "d.jsonl"]
    assert [path.name for path in work.iterdir()] == ["spec.json"]


def test_a_corpus_inside_its_source_is_no_source(rows: list[dict[str, Any]], tmp_path: Path):
    expected = tmp_path / "expected"
    (tmp_path / "docs/more").mkdir(parents=True)
    (tmp_path / "docs/link").symlink_to(tmp_path / "docs")
    write(tmp_path / "docs/more/d.jsonl", rows)
    build_corpus(from_files([tmp_path / "docs/more/d.jsonl"]), expected)
    out = tmp_path / "docs/out"
    hidden = tmp_path / "docs/.out.work/ingest/00000"  # of a build that was killed
    for source in (tmp_path / "docs", tmp_path / "docs/link"):
        hidden.mkdir(parents=True, exist_ok=True)
        write(hidden / "documents.jsonl", [{"text": "of another build"}])
        build_corpus(from_files([source]), out)
        assert contents(out) == contents(expected)
        assert all(check.ok for check in verify_corpus(out, from_files([source])))


def test_an_input_is_not_replaced_by_a_corpus_of_itself(rows: list[dict[str, Any]], tmp_path: Path):
    out = tmp_path / "out"
    build_corpus(from_files([write(tmp_path / "d.jsonl", rows)]), out)
    before = contents(out)
    (tmp_path / "link").symlink_to(out)
    for source in (out, out / "shards", out / "shards/train-00000.jsonl.gz", tmp_path / "link/shards"):
        with pytest.raises(OutputTaken, match="is an input"):
            build_corpus(from_files([source]), out)
    against = ContaminationSettings(against=(out / "shards/train-00000.jsonl.gz",))
    with pytest.raises(OutputTaken, match="is an input"):
        build_corpus(from_files([tmp_path / "d.jsonl"], contamination=against), out)
    assert contents(out) == before


def test_the_documents_of_a_corpus_are_its_shards(rows: list[dict[str, Any]], tmp_path: Path):
    out = tmp_path / "out"
    build_corpus(from_files([write(tmp_path / "d.jsonl", rows)]), out)
    with pytest.raises(SourceError, match=r"out is a corpus: give its documents, .*out/shards$"):
        build_corpus(from_files([out]), tmp_path / "again")
    assert build_corpus(from_files([out / "shards"]), tmp_path / "again").documents == len(kept(out))


@pytest.mark.parametrize("name", [".", "..", "a/..", "/"])
def test_a_corpus_has_a_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    path = write(tmp_path / "d.jsonl", [{"text": "x"}])
    with pytest.raises(SettingError, match="no name of a folder"):
        build_corpus(from_files([path]), name)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["d.jsonl", "empty"]


def test_verify_reads_files_with_the_settings_of_their_source(tmp_path: Path):
    path = write(tmp_path / "d.jsonl", [{"name": "a", "body": "a text"}])
    out = tmp_path / "out"
    words = ["--text-field", "body", "--id-field", "name"]
    assert CliRunner().invoke(app, ["build", "-d", str(path), *words, "-o", str(out)]).exit_code == 0
    done = CliRunner().invoke(app, ["verify", str(out), "-d", str(path)])
    assert done.exit_code == 0 and "source data: 1 documents" in done.stdout, done.output
    write(path, [{"name": "b", "body": "a text"}])
    assert CliRunner().invoke(app, ["verify", str(out), "-d", str(path)]).exit_code == 1


texts = st.text(st.sampled_from("ab \n\t.,é字\u200b"), max_size=30)


@given(st.lists(texts, min_size=1, max_size=20), st.randoms(use_true_random=False))
@settings(max_examples=suite.examples(60))
def test_any_texts_give_one_corpus(
    tmp_path_factory: pytest.TempPathFactory, found: list[str], generator: random.Random
):
    folder = tmp_path_factory.mktemp("any")
    rows = [{"text": each} for each in (*found, "a text that is kept")]
    build_corpus(from_files([write(folder / "a.jsonl", rows)]), folder / "a")
    build_corpus(from_files([write(folder / "b.jsonl", generator.sample(rows, len(rows)))]), folder / "b")
    assert contents(folder / "a") == contents(folder / "b")
    assert len({row["text"] for row in kept(folder / "a")}) == len(kept(folder / "a"))
    assert len(kept(folder / "a")) + len((folder / "a/removed.jsonl").read_text().splitlines()) == len(rows)


def test_bad_input_is_one_line(tmp_path: Path):
    with pytest.raises(SourceError, match="does not exist"):
        build_corpus(from_files([tmp_path / "nothing.jsonl"]), tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no file of a known format"):
        build_corpus(from_files([tmp_path / "empty"]), tmp_path / "out")
    path = write(tmp_path / "d.jsonl", [{"body": "x"}])
    with pytest.raises(SourceError, match=r"d\.jsonl:1: the field `text` is missing"):
        build_corpus(from_files([path]), tmp_path / "out")
    (tmp_path / "latin.txt").write_bytes(b"a\nb\xe9")
    with pytest.raises(SourceError, match=r"latin\.txt:2: not UTF-8"):
        build_corpus(from_files([tmp_path / "latin.txt"]), tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.doc").write_text("x")
    done = CliRunner().invoke(app, ["build", "-d", str(path), "-o", str(tmp_path / "mine")])
    assert done.exit_code != 0 and (tmp_path / "mine/thesis.doc").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["", '{"text": " "}\n'])
def test_an_empty_corpus_is_not_written(content: str, tmp_path: Path):
    (tmp_path / "d.jsonl").write_text(content)
    with pytest.raises(SourceError, match="no document"):
        build_corpus(from_files([tmp_path / "d.jsonl"]), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["d.jsonl"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--validation", "2"], "--validation: must be below 1"),
        (["--seed", "-1"], "--seed: must be at least 0"),
        (["--rules", "x"], "--rules: must be"),
        (["--set", "nope=1"], "no setting `nope`"),
    ],
)
def test_a_wrong_option_is_named(words: list[str], says: str, tmp_path: Path):
    path = write(tmp_path / "d.jsonl", [{"text": "x"}])
    done = CliRunner().invoke(app, ["build", "-d", str(path), "-o", str(tmp_path / "out"), *words])
    assert done.exit_code != 0 and says in str(done.exception)


def test_a_threshold_that_needs_other_bands_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    generator = random.Random(6)
    pairs = [(text(generator, 130), text(generator, 70), text(generator, 70)) for _ in range(30)]
    rows = [{"text": f"{start} {end}"} for start, *ends in pairs for end in ends]  # similarity 0.47
    path = write(tmp_path / "d.jsonl", rows)

    def removed(**changes: Any) -> int:
        caplog.clear()
        settings = from_files([path], dedup=DedupSettings(**changes))
        return analyze_corpus(settings, tmp_path / str(len(list(tmp_path.iterdir())))).removed.get("near", 0)

    assert removed(threshold=0.4) < 10
    assert (
        "similarity 0.4 are found with a probability of 1%; with dedup.bands=42 and dedup.rows=3 of 94%" in caplog.text
    )
    assert removed(threshold=0.4, bands=42, rows=3) > 26 and not caplog.text
    assert removed() == 0 and not caplog.text
    assert removed(threshold=0.4, near=False) == 0 and not caplog.text


def test_names_of_fields_beside_a_file_of_sources_are_refused(tmp_path: Path):
    write(tmp_path / "d.jsonl", [{"text": "x", "body": "y"}])
    (tmp_path / "s.toml").write_text('[[sources]]\nname = "a"\npath = ["d.jsonl"]\n')
    for option in ("--text-field", "--id-field"):
        words = ["build", str(tmp_path / "s.toml"), "-o", str(tmp_path / "out"), option, "body"]
        done = CliRunner().invoke(app, words)
        assert isinstance(done.exception, SettingError) and "set `text_field`" in str(done.exception)
        assert not (tmp_path / "out").exists()


def test_settings_name_their_place(tmp_path: Path):
    (tmp_path / "s.toml").write_text('[[sources]]\nname = "a"\npath = ["x"]\n[dedup]\nthreshold = 2\n')
    done = CliRunner().invoke(app, ["build", str(tmp_path / "s.toml"), "-o", str(tmp_path / "out")])
    assert done.exit_code != 0 and "threshold" in str(done.exception)
    assert CorpusSettings.model_fields.keys() >= {"sources", "cleaning", "filters", "dedup", "contamination", "split"}


@pytest.mark.thorough
def test_environment_has_no_influence(rows: list[dict[str, Any]], tmp_path: Path):
    path = write(tmp_path / "d.jsonl", rows[:60])
    found: list[dict[str, bytes]] = []
    for seed in ("0", "77"):
        folder = tmp_path / f"out{seed}"
        command = [sys.executable, "-m", "lazarus_corpus", "build", "-d", str(path), "-o", str(folder)]
        environment = os.environ | {"PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo", "LC_ALL": "C"}
        subprocess.run(command, env=environment, check=True, capture_output=True)
        found.append(contents(folder))
    assert found[0] == found[1]


@pytest.mark.thorough
def test_ray_gives_equal_bytes(rows: list[dict[str, Any]], tmp_path: Path):
    for module in ("ray", "datatrove"):
        pytest.importorskip(module)
    paths = [write(tmp_path / f"{part}.jsonl", rows[part::3]) for part in range(3)]
    data = [word for path in paths for word in ("-d", str(path))]
    for executor in ("local", "ray"):
        command = [sys.executable, "-m", "lazarus_corpus", "build", *data, "-o", str(tmp_path / executor)]
        done = subprocess.run(
            [*command, "--executor", executor, "--workers", "2"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")


SBATCH = """#!{python}
# Runs the tasks of a job array one after the other on this machine, as `sbatch --wait` waits for them.
import os, re, subprocess, sys
script = sys.argv[-1]
options = dict(re.findall(r"^#SBATCH --([^=\\n]+)=?(.*)$", open(script).read(), re.M))
if "wait" not in options or not all(options[name] for name in options if name not in ("wait", "requeue")):
    sys.exit("sbatch: error: an option without a value: " + str(options))
if "{fails}":
    sys.exit("sbatch: error: Batch job submission failed")
first, last = map(int, options["array"].partition("%")[0].split("-"))
for task in range(first, last + 1):
    with open(options["output"].replace("%A", "1").replace("%a", str(task)), "w") as log:
        found = {{"SLURM_ARRAY_TASK_ID": str(task), "SLURM_NODELIST": "here", "SLURM_JOB_ID": "1"}}
        subprocess.run(["bash", script], env={{**os.environ, **found}}, stdout=log, stderr=log, cwd="/", check=True)
print("Submitted batch job 1")
"""
SRUN = """#!/bin/bash
while [[ $1 == -* ]]; do [[ $1 == -n ]] && shift; shift; done
exec "$@"
"""


def slurm(folder: Path, fails: str = "") -> dict[str, str]:
    """The environment with commands that stand for Slurm's."""
    folder.mkdir()
    programs = {
        "sbatch": SBATCH.format(python=sys.executable, fails=fails),
        "srun": SRUN,
        "scontrol": "#!/bin/bash\necho here\n",
    }
    for name, text_of_it in programs.items():
        (folder / name).write_text(text_of_it)
        (folder / name).chmod(0o755)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.thorough
def test_slurm_gets_the_same_pipeline_and_gives_equal_bytes(rows: list[dict[str, Any]], tmp_path: Path):
    """There is no Slurm here: `sbatch`, `srun` and `scontrol` are scripts that run the job array."""
    pytest.importorskip("datatrove")
    environment = slurm(tmp_path / "bin")
    paths = [write(tmp_path / f"{part}.jsonl", rows[part::3]) for part in range(3)]
    write(tmp_path / "evaluation.jsonl", [{"question": rows[3]["text"]}])
    data = [word for path in paths for word in ("-d", path.name)]
    for executor in ("local", "slurm"):  # paths are relative, and the jobs have another current folder
        command = [
            sys.executable,
            "-m",
            "lazarus_corpus",
            "build",
            *data,
            "-o",
            executor,
            "--against",
            "evaluation.jsonl",
        ]
        done = subprocess.run(
            [*command, "--executor", executor, "--workers", "2", "--set", "dedup.units=line"],
            env=environment, capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "slurm") == contents(tmp_path / "local")


@pytest.mark.thorough
def test_a_job_that_fails_is_one_line_and_the_next_build_goes_on(rows: list[dict[str, Any]], tmp_path: Path):
    pytest.importorskip("datatrove")
    path = write(tmp_path / "d.jsonl", rows[:20])
    command = [sys.executable, "-m", "lazarus_corpus", "build", "-d", str(path), "-o", str(tmp_path / "out")]
    for number, fails in enumerate(("yes", "")):
        done = subprocess.run(
            [*command, "--executor", "slurm"], env=slurm(tmp_path / f"bin{number}", fails), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == (2 if fails else 0), done.stderr
    build_corpus(from_files([path]), tmp_path / "local")
    assert contents(tmp_path / "out") == contents(tmp_path / "local")
