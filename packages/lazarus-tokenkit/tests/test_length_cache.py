import json
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lazarus_plan import LengthRow
from lazarus_tokenkit import Encoder, build_lengths, encode_rows, load_tokenizer
from lazarus_tokenkit.encoding.encoder import Measure
from lazarus_tokenkit.errors import SampleError, TokenkitError
from lazarus_tokenkit.lengths import cache as length_cache
from lazarus_tokenkit.lengths import chunks
from lazarus_tokenkit.lengths.cache import row_line
from lazarus_tokenkit.lengths.stats import LengthTally
from lazarus_tokenkit.tokenizers.engines import is_installed
from lazarus_tokenkit.tokenizers.ids import Ids, id_array
from suite import examples

BYTE = Encoder(load_tokenizer("byte"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "d.jsonl"
    rows = [{"prompt": f"{n}+{n}=", "completion": str(2 * n)} for n in range(25)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@given(st.text(), st.integers(0, 9999), st.none() | st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_a_line_is_what_the_plan_would_write(name: str, length: int, parts: Any):
    digest = bytes(range(32))
    expected = LengthRow(name, length, 3, parts, "0123abcd", digest[:4].hex()).line()
    assert row_line(name, Measure(length, 3, parts, "0123abcd"), digest) == expected


def test_the_rows_are_those_of_encode_rows(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(length_cache, "CHUNK", 4)
    build_lengths(data, BYTE, tmp_path / "l.jsonl")
    lines = (tmp_path / "l.jsonl").read_bytes().splitlines(keepends=True)[1:]
    assert lines == [row.length_row.line() for row in encode_rows(data, BYTE)]


def test_chunks_that_are_done_early_wait_for_their_turn(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    build_lengths(data, BYTE, tmp_path / "l.jsonl")
    finished: list[str] = []

    class Uneven:
        name = "uneven"
        is_parallel = False

        def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
            time.sleep(0.05 if texts[0].startswith("0+0") else 0)
            finished.append(texts[0])
            return list(map(id_array, BYTE.tokenizer.encode_batch(texts)))

    monkeypatch.setattr(length_cache, "CHUNK", 1)
    monkeypatch.setattr(length_cache, "WORKERS", 4)
    monkeypatch.setattr(chunks, "choose_engine", lambda *given: Uneven())
    build_lengths(data, BYTE, tmp_path / "uneven.jsonl")
    assert not finished[0].startswith("0+0")
    assert (tmp_path / "uneven.jsonl").read_bytes() == (tmp_path / "l.jsonl").read_bytes()


@pytest.mark.parametrize("stop", range(0, 25, 3))
def test_a_stopped_run_goes_on_and_gives_the_same_bytes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
):
    monkeypatch.setattr(length_cache, "CHUNK", 4)
    build_lengths(data, BYTE, tmp_path / "whole.jsonl")
    done: list[int] = []

    def interrupt(count: int) -> None:
        done.append(count)
        if sum(done) > stop:
            raise KeyboardInterrupt

    output = tmp_path / "l.jsonl"
    with pytest.raises(KeyboardInterrupt):
        build_lengths(data, BYTE, output, on_progress=interrupt)
    assert not output.exists() and (tmp_path / ".l.jsonl.partial").exists()
    spared: list[int] = []
    start = length_cache._start

    def watched(*args: Any) -> Any:
        chunk = start(*args)
        spared.append(len(chunk.rows) if chunk.lines is not None else 0)
        return chunk

    monkeypatch.setattr(length_cache, "_start", watched)
    build_lengths(data, BYTE, output)
    assert output.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert sum(spared) == sum(done)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["d.jsonl", "l.jsonl", "whole.jsonl"]


def stopped(data: Path, output: Path, after: int = 20) -> Path:
    """The resume file of a run that was stopped after so many rows."""
    done: list[int] = []

    def interrupt(count: int) -> None:
        done.append(count)
        if sum(done) >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_lengths(data, BYTE, output, on_progress=interrupt)
    return output.with_name(f".{output.name}.partial")


@given(st.data())
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_an_altered_resume_file_gives_the_bytes_of_an_undisturbed_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: st.DataObject
):
    monkeypatch.setattr(length_cache, "CHUNK", 4)
    build_lengths(data, BYTE, tmp_path / "whole.jsonl")
    partial = stopped(data, tmp_path / "l.jsonl")
    content = bytearray(partial.read_bytes())
    first = content.index(b"\n") + 1
    at = draw.draw(st.integers(first, len(content) - 1))
    match draw.draw(st.sampled_from(["change", "insert", "cut", "drop"])):
        case "change":
            content[at] ^= draw.draw(st.integers(1, 255))
        case "insert":
            content[at:at] = draw.draw(st.binary(min_size=1, max_size=9))
        case "drop":
            del content[at]
        case _:
            del content[at:]
    partial.write_bytes(content)
    build_lengths(data, BYTE, tmp_path / "l.jsonl")
    assert (tmp_path / "l.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not partial.exists()


def test_rows_of_another_resume_file_are_not_taken(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(length_cache, "CHUNK", 4)
    partial = stopped(data, tmp_path / "l.jsonl")
    line, _, rest = partial.read_bytes().partition(b"\n")
    partial.write_bytes(line.replace(b'"fields"', b'"fieldz"') + b"\n" + rest)
    build_lengths(data, BYTE, tmp_path / "l.jsonl")
    build_lengths(data, BYTE, tmp_path / "fresh.jsonl")
    assert (tmp_path / "l.jsonl").read_bytes() == (tmp_path / "fresh.jsonl").read_bytes()


def test_one_process_builds_an_output_at_a_time(data: Path, tmp_path: Path):
    output = tmp_path / "l.jsonl"

    def again(count: int) -> None:
        with pytest.raises(TokenkitError, match="another process is writing") as caught:
            build_lengths(data, BYTE, output)
        assert (caught.value.code, caught.value.exit_code) == ("LT-E504", 2)

    build_lengths(data, BYTE, output, on_progress=again)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["d.jsonl", "l.jsonl"]


@pytest.mark.parametrize("what", ["notes", "link"])
def test_a_resume_file_that_is_none_is_left_alone(data: Path, tmp_path: Path, what: str):
    mine, partial = tmp_path / "mine", tmp_path / ".l.jsonl.partial"
    mine.write_bytes(b"years of work\n")
    partial.symlink_to(mine) if what == "link" else partial.write_bytes(b"years of work\n")
    with pytest.raises((TokenkitError, OSError)):
        build_lengths(data, BYTE, tmp_path / "l.jsonl")
    assert mine.read_bytes() == partial.read_bytes() == b"years of work\n"


def test_a_device_has_no_resume_file_beside_it(data: Path):
    before = sorted(Path("/dev").iterdir())
    build_lengths(data, BYTE, Path("/dev/null"))
    assert sorted(Path("/dev").iterdir()) == before


@pytest.mark.parametrize("edit", ["row", "template", "torn"])
def test_what_changed_since_is_encoded_again(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: str):
    monkeypatch.setattr(length_cache, "CHUNK", 4)
    output, partial = tmp_path / "l.jsonl", tmp_path / ".l.jsonl.partial"

    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_lengths(data, BYTE, output, on_progress=interrupt)
    encoder = Encoder(BYTE.tokenizer, "plain") if edit == "template" else BYTE
    if edit == "row":
        data.write_text(data.read_text().replace('"1+1="', '"1-1="'))
    if edit == "torn":
        partial.write_bytes(partial.read_bytes()[:-5])
    build_lengths(data, encoder, output)
    build_lengths(data, encoder, tmp_path / "fresh.jsonl")
    assert output.read_bytes() == (tmp_path / "fresh.jsonl").read_bytes()


@pytest.mark.parametrize("way", ["path", "symlink", "hard link", "inside"])
def test_the_data_are_never_replaced_by_their_lengths(data: Path, tmp_path: Path, way: str):
    given, output = data, tmp_path / "l.jsonl"
    match way:
        case "path":
            output = data
        case "symlink":
            output.symlink_to(data)
        case "hard link":
            output.hardlink_to(data)
        case _:
            given = tmp_path / "texts"
            given.mkdir()
            (given / "a.txt").write_text("one")
            output = given / "l.jsonl"
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(SampleError, match="choose another file") as caught:
        build_lengths(given, BYTE, output)
    assert caught.value.code == "LT-E315"
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("engine", ["tiktoken", "gigatoken"])
def test_another_engine_gives_the_same_rows_and_is_named(real_data: Path, data: Path, tmp_path: Path, engine: Any):
    if not is_installed(engine):
        pytest.skip(f"engine {engine} is not installed")
    encoder = Encoder(load_tokenizer(real_data / "tokenizers" / "gpt2"))
    headers = [build_lengths(data, encoder, tmp_path / name, engine=name) for name in ("huggingface", engine)]
    rows = [(tmp_path / name).read_bytes().split(b"\n", 1)[1] for name in ("huggingface", engine)]
    assert rows[0] == rows[1] and headers[0].identity_line() == headers[1].identity_line()
    assert f"lengths by {engine}" in headers[1].parts["tokenizer"]["library"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lazarus_tokenkit.lengths.cache.CHUNK", 100)
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps({"text": f"{n} " * 20}) + "\n" for n in range(6000)))
    held: list[int] = []
    tracemalloc.start()
    try:
        build_lengths(
            path,
            Encoder(load_tokenizer("byte")),
            tmp_path / "l.jsonl",
            on_progress=lambda _: held.append(tracemalloc.get_traced_memory()[0]),
            tally=LengthTally(),
        )
    finally:
        tracemalloc.stop()
    assert len(held) == 60 and held[-1] < held[10] + 100_000  # a hundred bytes a row would be five times that
