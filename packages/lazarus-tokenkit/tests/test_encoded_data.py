"""Files of encoded samples: what they hold, and that they appear whole or not at all."""

import json
import os
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lazarus_core.errors import OutputTaken
from lazarus_plan import LengthRow, LengthsHeader
from lazarus_tokenkit import Encoder, build_lengths, encode_rows, load_tokenizer
from lazarus_tokenkit import encoded_data as module
from lazarus_tokenkit.encoded_data import encode_dataset, write_encoded
from lazarus_tokenkit.errors import SampleError, TokenkitError
from lazarus_tokenkit.lengths.stats import LengthTally
from lazarus_tokenkit.tokenizers.backends.parallelism import PARALLELISM
from lazarus_tokenkit.tokenizers.engines import is_installed
from lazarus_tokenkit.tokenizers.ids import ids_prefix

BYTE = Encoder(load_tokenizer("byte"), "plain")
FORMS: dict[str, list[dict[str, Any]]] = {
    "completion": [{"prompt": f"{n}+{n}=", "completion": str(2 * n), "id": f'"{n}" é'} for n in range(25)],
    "text": [{"text": "a" * n} for n in range(7)],
    "pairs": [{"prompt": f"{n}?", "chosen": "yes" * n, "rejected": "no"} for n in range(9)],
}


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return written(tmp_path / "d.jsonl", FORMS["completion"])


def read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Header and rows of a file of either form."""
    if path.suffix == ".jsonl":
        header, *rows = map(json.loads, path.read_text("utf-8").splitlines())
        return header, rows
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra `parquet`")
    table = parquet.read_table(path)
    return json.loads(parquet.read_schema(path).metadata[b"lazarus"]), table.to_pylist()


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def lengths_of(path: Path) -> bytes:
    """The length cache that a file of encoded samples gives."""
    header, rows = read(path)
    assert header.pop("lazarus_encoded") == 1
    lines = [
        LengthRow(
            row["id"],
            len(row["input_ids"]),
            sum(row["mask"]),
            tuple(row["parts"]) if "parts" in row else None,
            ids_prefix(row["input_ids"]),
            row["row"],
        ).line()
        for row in rows
    ]
    return LengthsHeader(**header).line() + b"".join(lines)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_file_gives_the_length_cache_of_its_data_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, suffix: str
):
    monkeypatch.setattr(module, "CHUNK", 4)
    monkeypatch.setattr(module, "GROUP_TOKENS", 50)
    data = written(tmp_path / "d.jsonl", FORMS[form])
    header = write_encoded(data, BYTE, tmp_path / f"e{suffix}")
    assert header == build_lengths(data, BYTE, tmp_path / "l.jsonl")
    assert lengths_of(tmp_path / f"e{suffix}") == (tmp_path / "l.jsonl").read_bytes()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_rows_have_the_ids_and_masks_of_encode_rows(tmp_path: Path, form: str, suffix: str):
    data = written(tmp_path / "d.jsonl", FORMS[form])
    write_encoded(data, BYTE, tmp_path / f"e{suffix}")
    due = [
        {"id": row.id, "input_ids": row.ids, "mask": row.loss_mask, "row": row.length_row.row}
        | ({} if row.parts is None else {"parts": list(row.parts)})
        for row in encode_rows(data, BYTE)
    ]
    assert read(tmp_path / f"e{suffix}")[1] == due
    for sample, row in zip(encode_dataset(data, BYTE), due, strict=True):
        name, ids, mask = sample
        assert (name, ids.tolist(), mask.astype(int).tolist()) == (row["id"], row["input_ids"], row["mask"])
        assert (ids.dtype, mask.dtype) == (np.int32, np.bool_)


def test_json_lines_are_spelled_as_documented(tmp_path: Path):
    data = written(tmp_path / "d.jsonl", [{"prompt": "1+1=", "completion": "2", "id": "é"}])
    write_encoded(data, BYTE, tmp_path / "e.jsonl")
    lines = (tmp_path / "e.jsonl").read_text("utf-8").splitlines()
    assert lines[0].startswith('{"lazarus_encoded":1,"count":1,"data":"sha256:')
    body = '"input_ids":[257,49,43,49,61,10,50,259],"mask":[0,0,0,0,0,0,1,1]'
    row = next(iter(encode_rows(data, BYTE))).length_row.row
    assert lines[1:] == [f'{{"id":"é",{body},"row":"{row}"}}']


def test_parquet_has_the_documented_columns_and_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra `parquet`")
    monkeypatch.setattr(module, "GROUP_TOKENS", 60)
    data = written(tmp_path / "d.jsonl", FORMS["pairs"])
    write_encoded(data, BYTE, tmp_path / "e.parquet")
    schema = parquet.read_schema(tmp_path / "e.parquet")
    kinds = ["string", "list<element: int32>", "list<element: int8>", "list<element: int32>", "string"]
    assert list(map(str, schema.types)) == kinds
    assert schema.names == ["id", "input_ids", "mask", "parts", "row"]
    assert parquet.ParquetFile(tmp_path / "e.parquet").num_row_groups > 2
    before = (tmp_path / "e.parquet").read_bytes()
    write_encoded(data, BYTE, tmp_path / "e.parquet")  # an earlier output is recognised and replaced
    assert (tmp_path / "e.parquet").read_bytes() == before


def test_a_sample_without_tokens_has_an_empty_list(tmp_path: Path, build: Any):
    data = written(tmp_path / "d.jsonl", [{"text": ""}, {"text": "she"}, {"text": ""}])
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    encoder = Encoder(replace(build(), bos_id=None, eos_id=None, chat_template=template))
    for suffix in (".jsonl", ".parquet"):
        write_encoded(data, encoder, tmp_path / f"e{suffix}")
        rows = read(tmp_path / f"e{suffix}")[1]
        assert [bool(row["input_ids"]) for row in rows] == [False, True, False]
    assert [len(ids) for _, ids, _ in encode_dataset(data, encoder)] == [len(row["input_ids"]) for row in rows]


@pytest.mark.parametrize("engine", ["tiktoken", "gigatoken"])
def test_another_engine_gives_the_same_rows_and_is_named(real_data: Path, data: Path, tmp_path: Path, engine: Any):
    if not is_installed(engine):
        pytest.skip(f"engine {engine} is not installed")
    encoder = Encoder(load_tokenizer(real_data / "tokenizers" / "gpt2"))
    for name in ("huggingface", engine):
        write_encoded(data, encoder, tmp_path / f"{name}.jsonl", engine=name)
    rows = [(tmp_path / f"{name}.jsonl").read_bytes().split(b"\n", 1)[1] for name in ("huggingface", engine)]
    assert rows[0] == rows[1]
    build_lengths(data, encoder, tmp_path / "l.jsonl", engine=engine)
    assert lengths_of(tmp_path / f"{engine}.jsonl") == (tmp_path / "l.jsonl").read_bytes()
    assert sum(1 for _ in encode_dataset(data, encoder, engine=engine)) == 25


@pytest.mark.parametrize("name", ["e", "e.txt", "e.jsonl.gz", "e.JSONL"])
def test_another_suffix_is_refused_before_any_work(data: Path, tmp_path: Path, name: str):
    with pytest.raises(TokenkitError, match=r"the suffix must be \.jsonl or \.parquet") as caught:
        write_encoded(data, BYTE, tmp_path / name)
    assert (caught.value.code, caught.value.exit_code) == ("LT-E320", 2)
    assert names(tmp_path) == ["d.jsonl"]


def test_parquet_without_its_extra_is_refused_by_name(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TokenkitError, match=r"install lazarus-tokenkit\[parquet\]") as caught:
        write_encoded(data, BYTE, tmp_path / "e.parquet")
    assert (caught.value.code, caught.value.exit_code) == ("LT-E321", 2)
    assert names(tmp_path) == ["d.jsonl"]
    write_encoded(data, BYTE, tmp_path / "e.jsonl")


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_wrong_row_leaves_the_earlier_file_and_nothing_else(data: Path, tmp_path: Path, suffix: str):
    output = tmp_path / f"e{suffix}"
    write_encoded(data, BYTE, output)
    before = output.read_bytes()
    data.write_text(data.read_text("utf-8") + '{"prompt":"1+1="}\n', "utf-8")
    with pytest.raises(SampleError, match=r"d\.jsonl:26: "):
        write_encoded(data, BYTE, output)
    assert output.read_bytes() == before
    assert names(tmp_path) == ["d.jsonl", output.name]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_full_disk_names_the_output(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str):
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError, match="No space left") as caught:
        monkeypatch.setattr(module, "TemporaryFile", lambda **_: full)
        write_encoded(data, BYTE, tmp_path / f"e{suffix}")
    assert caught.value.filename == str(tmp_path / f"e{suffix}")
    assert names(tmp_path) == ["d.jsonl"]


@pytest.mark.parametrize("way", ["path", "symlink", "hard link", "inside"])
def test_the_data_are_never_replaced(data: Path, tmp_path: Path, way: str):
    given, output = data, tmp_path / "e.jsonl"
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
            output = given / "e.jsonl"
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(SampleError, match="choose another file for a file of encoded samples") as caught:
        write_encoded(given, BYTE, output, force=True)
    assert caught.value.code == "LT-E315"
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_a_foreign_parquet_file_has_to_be_forced(data: Path, tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra `parquet`")
    output = tmp_path / "e.parquet"
    # The mark in a value, not in the metadata: still somebody else's.
    table = pytest.importorskip("pyarrow").table({"text": ['{"lazarus_encoded":1'] * 3})
    parquet.write_table(table, output, compression="none", use_dictionary=False, write_statistics=False)
    before = output.read_bytes()
    write_encoded(data, BYTE, tmp_path / "ours.parquet")
    torn = (tmp_path / "ours.parquet").read_bytes()[:-4] + b"PAR2"
    for foreign in (before, before[:-8] + b"\xff\xff\xff\x0fPAR1", torn, b"PAR1"):
        output.write_bytes(foreign)
        with pytest.raises(OutputTaken) as caught:
            write_encoded(data, BYTE, output)
        assert caught.value.code == "LT-E503" and output.read_bytes() == foreign
    write_encoded(data, BYTE, output, force=True)
    assert read(output)[0]["count"] == 25


def test_a_stream_gets_json_lines_and_nothing_lies_next_to_a_device(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folders: list[Path | None] = []
    made = module.TemporaryFile
    monkeypatch.setattr(module, "TemporaryFile", lambda **given: folders.append(given["dir"]) or made(**given))
    write_encoded(data, BYTE, Path("/dev/null"))
    assert folders == [None]
    write_encoded(data, BYTE, tmp_path / "e.jsonl")
    with (tmp_path / "stream").open("wb") as stream:
        write_encoded(data, BYTE, Path(f"/dev/fd/{stream.fileno()}"))
    assert (tmp_path / "stream").read_bytes() == (tmp_path / "e.jsonl").read_bytes()


def test_progress_and_tally_count_every_sample(data: Path, tmp_path: Path):
    done: list[int] = []
    ours, theirs = LengthTally(), LengthTally()
    write_encoded(data, BYTE, tmp_path / "e.jsonl", on_progress=done.append, tally=ours)
    build_lengths(data, BYTE, tmp_path / "l.jsonl", tally=theirs)
    assert sum(done) == 25 and ours.stats == theirs.stats


def test_samples_that_are_not_asked_for_leave_the_library_s_switch_as_it_was(
    data: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv(PARALLELISM, raising=False)
    first, second = encode_dataset(data, BYTE), encode_dataset(data, BYTE)
    assert next(first).id == next(second).id
    first.close()  # pyright: ignore[reportAttributeAccessIssue] (a generator)
    assert os.environ[PARALLELISM] == "false", "the second still needs it"
    second.close()  # pyright: ignore[reportAttributeAccessIssue] (a generator)
    assert PARALLELISM not in os.environ


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str):
    monkeypatch.setattr(module, "CHUNK", 100)
    monkeypatch.setattr(module, "GROUP_TOKENS", 20_000)
    data = written(tmp_path / "d.jsonl", [{"text": f"{n} " * 20} for n in range(6000)])
    held: list[int] = []
    tracemalloc.start()
    try:
        write_encoded(
            data,
            BYTE,
            tmp_path / f"e{suffix}",
            on_progress=lambda _: held.append(tracemalloc.get_traced_memory()[0]),
            tally=LengthTally(),
        )
    finally:
        tracemalloc.stop()
    assert len(held) == 60 and max(held[30:]) < max(held[10:30]) + 200_000  # a hundred bytes a row would be more


def test_the_command_writes_a_data_set_and_says_what_it_wrote(call: Any, data: Path, tmp_path: Path):
    output = tmp_path / "e.jsonl"
    words = ["encode", "-t", "byte", "--template", "plain", "-d", str(data), "-o", str(output)]
    code, out, err = call(*words)
    assert code == 0 and out.startswith("25 samples, ") and "template `plain`" in out and f"wrote {output}" in err
    write_encoded(data, BYTE, tmp_path / "due.jsonl")
    assert output.read_bytes() == (tmp_path / "due.jsonl").read_bytes()
    code, out, err = call(*words, "--json")
    receipt = json.loads(out)
    assert receipt["count"] == 25 and receipt["data"] == read(output)[0]["data"] and "wrote" not in err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "give TEXT to encode, or a data set with --data and --output"),
        (["-d", "d.jsonl"], "--data needs --output"),
        (["hello", "-d", "d.jsonl", "-o", "e.jsonl"], "TEXT cannot be given with --data"),
        (["-d", "d.jsonl", "-o", "e.jsonl", "--pieces", "--literal"], "--pieces, --literal cannot be given"),
        (["hello", "-o", "e.jsonl"], "--output cannot be given with TEXT"),
        (["hello", "--template", "plain", "--force"], "--template, --force cannot be given with TEXT"),
        (["hello", "--engine", "auto"], "--engine cannot be given with TEXT"),
        (["hello", "--prompt-field", "q"], "--..-field cannot be given with TEXT"),
    ],
)
def test_options_of_the_other_use_are_refused(
    call: Any, data: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], reason: str
):
    monkeypatch.chdir(data.parent)
    code, out, err = call("encode", "-t", "byte", *words)
    assert (code, out) == (2, "") and reason in err and "LT-E501" in err
    assert names(data.parent) == ["d.jsonl"]
