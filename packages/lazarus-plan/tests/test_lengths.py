import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_plan import LengthCache, LengthRow, LengthsHeader, LengthsWriter, read_lengths
from lazarus_plan.errors import FormatError, LengthsError
from lazarus_plan.lengths import sidecar
from lazarus_plan.lengths.lines import read_lines
from lazarus_plan.lengths.scan import _scan_plain, scan  # pyright: ignore[reportPrivateUsage] # whether it was fast
from lazarus_plan.lengths.sidecar import read_sidecar

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
prefixes = st.text("0123456789abcdef", min_size=8, max_size=8)
rows = st.lists(
    st.builds(
        LengthRow,
        ids,
        st.integers(0, 2**53 - 1),
        st.none() | st.integers(0, 99),
        st.none() | st.lists(st.integers(0, 9)).map(tuple),
        st.none() | prefixes,
        st.none() | prefixes,
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda row: row.id,
)


def write(path: Path, content: list[LengthRow]) -> bytes:
    with LengthsWriter(path) as writer:
        for row in content:
            writer.add(row)
        writer.finish(LengthsHeader(len(content)))
    return path.read_bytes()


@given(rows)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, content: list[LengthRow]):
    path = tmp_path_factory.mktemp("lengths") / "lengths.jsonl"
    written = write(path, content)
    found = read_lengths(path)
    assert found.digest == LengthCache.from_rows(content).digest
    hashed = written.replace(b',"parts":{}}', b"}", 1)
    assert found.digest == "sha256:" + hashlib.sha256(hashed).hexdigest()
    assert (list(found.ids), found.length.tolist()) == ([row.id for row in content], [row.length for row in content])


def test_spelling_does_not_change_the_digest(tmp_path: Path):
    (tmp_path / "a").write_text('{"id":"x","length":3}\n{"id":"y","length":4}\n', "utf-8")
    (tmp_path / "b").write_text('{"length": 3, "id": "x"}\r\n{ "id": "\\u0079", "length": 4 }', "utf-8")
    assert read_lengths(tmp_path / "a").digest == read_lengths(tmp_path / "b").digest


def test_a_cache_without_a_header_has_no_fingerprints(tmp_path: Path):
    (tmp_path / "a").write_text('{"id":"x","length":3}\n', "utf-8")
    header = read_lengths(tmp_path / "a").header
    assert (header.count, header.data, header.template, header.tokenizer) == (1, "absent", "absent", "absent")


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b"", "LP-E002", "is empty"),
        (b'{"lazarus_lengths":1,"count":0}\n', "LP-E002", "no sample"),
        (b'{"lazarus_lengths":1,"count":2}\n{"id":"a","length":1}\n', "LP-E004", "truncated"),
        (b'{"lazarus_lengths":1,"count":true}\n', "LP-E003", ":1: `count`"),
        (b'{"lazarus_lengths":1}\n', "LP-E003", ":1: `count` is None"),
        (b'{"lazarus_lengths":1,"count":1,"data":7}\n', "LP-E003", ":1: `data` is 7"),
        (b'{"lazarus_lengths":1,"count":1,"parts":[]}\n', "LP-E003", ":1: `parts` is []"),
        (b'{"lazarus_lengths":2,"count":1}\n', "LP-E160", "upgrade"),
        (b'{"id":"a","length":1}\n{"id":"a","length":2}\n', "LP-E120", ":2: id 'a' is in line 1 too"),
        (b'{"id":"a","length":1}\n{"id":"b"}\n', "LP-E003", ":2: no `length`"),
        (b'{"id":"a","length":1}\n\n{"id":"b","length":1}\n', "LP-E003", ":2: blank line between rows"),
        (b'{"id":"a","length":1.0}\n', "LP-E003", ":1: `length` is 1.0"),
        (b'{"id":"a","length":-1}\n', "LP-E003", ":1: `length` is -1"),
        (b'{"id":"a","length":9007199254740992}\n', "LP-E003", ":1: `length`"),
        (b'{"id":7,"length":1}\n', "LP-E003", ":1: `id` is 7"),
        (b'{"id":"a","length":1,"h":"xyz"}\n', "LP-E003", ":1: `h`"),
        (b'["a",1]\n', "LP-E003", ":1: not a JSON object"),
        (b'{"id":"\xff","length":1}\n', "LP-E003", ":1: byte 8 of the line is not UTF-8 (offset 7 in the file)"),
        (b'{"id":"a","length":1,"length":2}\n', "LP-E003", ":1: member 'length' occurs twice"),
        (b'{"id":"a","length":1}\n{"id":"b","len', "LP-E003", ":2:11: not JSON"),
        (b'{"id":"a","length":' + b"1" * 5000 + b"}\n", "LP-E003", ":1:20: an integer of 5,000 digits"),
    ],
)
def test_a_bad_cache_is_refused_by_file_and_line(tmp_path: Path, content: bytes, code: str, message: str):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises((LengthsError, FormatError)) as caught:
        read_lengths(path)
    assert caught.value.code == code and str(path) in caught.value.message and message in caught.value.message


def test_a_missing_cache_says_how_to_make_one(tmp_path: Path):
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(LengthsError) as caught:
            read_lengths(path)
        assert caught.value.code == "LP-E001"


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "lengths.jsonl"
    with pytest.raises(KeyError), LengthsWriter(path) as writer:
        writer.add(LengthRow("a", 1))
        raise KeyError
    assert not list(tmp_path.iterdir())


def outcome(read: Callable[[Path], LengthCache], path: Path) -> object:
    try:
        found = read(path)
    except (LengthsError, FormatError) as error:
        return error.message
    columns = [None if each is None else each.tolist() for each in (found.length, found.loss_tokens, found.prefixes)]
    return found.digest, list(found.ids), columns


plain_rows = st.builds(
    lambda size, ids, length, loss, h, row: [
        LengthRow(f"{each}", length + n, n if loss else None, None, h, row) for n, each in enumerate(ids[:size])
    ],
    st.integers(1, 6),
    st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), min_size=1),
        min_size=6,
        max_size=6,
        unique=True,
    ),
    st.integers(0, 10**12),
    st.booleans(),
    st.none() | prefixes,
    st.none() | prefixes,
)


@pytest.mark.parametrize("letter", [chr(code) for code in range(33, 127) if chr(code) not in '0123456789abcdef"\\'])
def test_no_other_character_is_a_hexadecimal_digit(letter: str, tmp_path: Path):
    path = tmp_path / "lengths.jsonl"
    path.write_text('{"id":"a","length":3,"h":"0000LETTER000"}\n'.replace("LETTER", letter), "utf-8")
    with pytest.raises(LengthsError, match="`h` is"):
        scan(path)


@given(plain_rows, st.booleans(), st.data())
def test_the_scan_reads_what_the_slow_reader_reads(
    tmp_path_factory: pytest.TempPathFactory, content: list[LengthRow], is_damaged: bool, data: st.DataObject
):
    path = tmp_path_factory.mktemp("lengths") / "lengths.jsonl"
    written = write(path, content)
    if is_damaged:
        place = data.draw(st.integers(0, len(written) - 1))
        path.write_bytes(written[:place] + data.draw(st.binary(max_size=2)) + written[place + 1 :])
    assert outcome(scan, path) == outcome(read_lines, path)
    assert is_damaged or _scan_plain(path) is not None


def test_the_spelling_of_python_is_scanned_too(tmp_path: Path):
    path = tmp_path / "lengths.jsonl"
    path.write_text('{"id": "a", "length": 3}\n{"id": "b", "length": 40}\n', "utf-8")
    assert _scan_plain(path) is not None
    assert outcome(scan, path) == outcome(read_lines, path)


ROWS = [LengthRow("a", 3, 1, None, "00000001", "00000002"), LengthRow("b", 4, 2, None, "00000003", "00000004")]


@pytest.fixture
def remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A length cache with its sidecar."""
    monkeypatch.setattr(sidecar, "MIN_COUNT", 1)
    path = tmp_path / "lengths.jsonl"
    write(path, ROWS)
    read_lengths(path, remember=True)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["lengths.jsonl", "lengths.npy"]
    return path


def test_a_sidecar_gives_what_the_lines_give(remembered: Path):
    found = read_sidecar(remembered)
    assert found is not None and outcome(lambda _: found, remembered) == outcome(read_lines, remembered)


def test_an_edit_that_keeps_size_and_time_is_noticed(remembered: Path):
    before = remembered.stat()
    remembered.write_bytes(remembered.read_bytes().replace(b'"length":4', b'"length":5'))
    os.utime(remembered, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert remembered.stat().st_mtime_ns == before.st_mtime_ns and remembered.stat().st_size == before.st_size
    assert read_lengths(remembered).length.tolist() == [3, 5]


def test_an_edit_while_the_lines_are_read_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sidecar, "MIN_COUNT", 1)
    path = tmp_path / "lengths.jsonl"
    write(path, ROWS)

    def scan_and_edit(each: Path) -> LengthCache:
        cache = scan(each)
        write(path, [LengthRow("a", 9)])
        return cache

    monkeypatch.setattr(sidecar, "scan", scan_and_edit)
    read_lengths(path, remember=True)
    assert read_sidecar(path) is None


@pytest.mark.parametrize("place", [0, 150, -1])
def test_a_damaged_sidecar_is_ignored(remembered: Path, place: int):
    damaged = remembered.with_suffix(".npy")
    content = bytearray(damaged.read_bytes())
    content[place] ^= 1
    damaged.write_bytes(content)
    assert read_sidecar(remembered) is None and read_lengths(remembered).length.tolist() == [3, 4]


def test_an_array_of_the_users_is_no_sidecar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sidecar, "MIN_COUNT", 1)
    write(tmp_path / "lengths.jsonl", ROWS)
    np.save(tmp_path / "lengths.npy", np.arange(100))
    assert len(read_lengths(tmp_path / "lengths.jsonl", remember=True)) == 2
    assert np.load(tmp_path / "lengths.npy").tolist() == list(range(100))


def test_lengths_are_read_where_no_sidecar_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(sidecar, "MIN_COUNT", 1)
    write(tmp_path / "lengths.jsonl", ROWS)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "lengths.npy")

    monkeypatch.setattr(sidecar, "write_sidecar", refuse)
    assert len(read_lengths(tmp_path / "lengths.jsonl", remember=True)) == 2
    assert "lengths.npy: the next read is as slow" in caplog.text


def test_a_writer_that_is_killed_leaves_nothing_behind(tmp_path: Path):
    path = tmp_path / "lengths.jsonl"
    with LengthsWriter(path) as writer:
        writer.add(LengthRow("a", 1))
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", ["add", "finish"])
def test_a_full_disk_names_the_file(tmp_path: Path, step: str):
    resource = pytest.importorskip("resource", reason="limits the size of files")
    path = tmp_path / "lengths.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with LengthsWriter(path) as writer, pytest.raises(OSError) as caught:  # which one is the system's
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16 if step == "add" else 1 << 20, limits[1]))
        try:
            for n in range(20_000 if step == "finish" else 100_000):
                writer.add(LengthRow(f"sample-{n:08d}-and-more", 1))
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 10, limits[1]))
            writer.finish(LengthsHeader(20_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value.filename) == str(path)
    assert not list(tmp_path.iterdir())


def test_an_id_has_a_bound_that_the_message_says(tmp_path: Path):
    path = tmp_path / "lengths.jsonl"
    path.write_text(f'{{"id":"{"a" * 4096}","length":3}}\n', "utf-8")
    assert len(read_lengths(path)) == 1
    path.write_text(f'{{"id":"b","length":3}}\n{{"id":"{"a" * 4097}","length":3}}\n', "utf-8")
    with pytest.raises(LengthsError, match=r"lengths.jsonl:2: `id` has 4,097 bytes; at most 4,096") as caught:
        read_lengths(path)
    assert caught.value.code == "LP-E003"


def test_an_id_of_megabytes_is_refused_at_once(tmp_path: Path):
    path = tmp_path / "lengths.jsonl"
    path.write_bytes(b'{"id":"' + b"a" * 20_000_000 + b'","length":5}\n')
    begin = time.process_time()
    with pytest.raises(LengthsError, match="at most 4,096") as caught:
        read_lengths(path)
    assert len(caught.value.message) < 2100 and time.process_time() - begin < 2


@pytest.mark.parametrize("shape", [b"(99999999999,)", b"(1,", b"(True,)", b"(01,)", b"(9999999999999999999999,)"])
def test_a_sidecar_that_states_more_than_it_holds_or_no_size_allocates_nothing(remembered: Path, shape: bytes):
    head = b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': " + shape + b", }"
    remembered.with_suffix(".npy").write_bytes(head.ljust(127) + b"\nx")
    assert read_sidecar(remembered) is None


@pytest.mark.parametrize("member", ["header", "digest", "offset", "columns"])
@pytest.mark.parametrize("value", [5, "x", [], {}, None, ["length", "nope"], {"count": 2}])
def test_a_mistyped_sidecar_is_ignored(remembered: Path, member: str, value: object):
    side = remembered.with_suffix(".npy")
    with side.open("rb") as stream:
        about = json.loads(np.load(stream).tobytes())
        columns = [np.load(stream) for _ in about["columns"]]
    about[member] = value
    with side.open("wb") as stream:
        np.save(stream, np.frombuffer(json.dumps(about).encode(), dtype=np.uint8))
        for column in columns:
            np.save(stream, column)
    found = read_sidecar(remembered)
    assert found is None or (member, value) in (("digest", "x"), ("offset", 5))
    assert read_lengths(remembered).length.tolist() == [3, 4]
