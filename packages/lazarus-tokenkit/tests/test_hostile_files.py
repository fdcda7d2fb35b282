"""Every reader of this package against hostile files: each is read, or refused in one line, in bounded memory."""

import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazarus_core.bounded import MAX_ID_BYTES
from lazarus_core.errors import LazarusError
from lazarus_core.jsonl import MAX_BLANK_LINES
from lazarus_tokenkit import ChatSample, Encoder, Message, load_tokenizer, read_samples
from lazarus_tokenkit.errors import SampleError, TokenizerError
from lazarus_tokenkit.fingerprint import compute_fingerprint, verify_fingerprint
from lazarus_tokenkit.regression import read_suite
from lazarus_tokenkit.samples.placed_row import MAX_ROW_BYTES
from lazarus_tokenkit.tokenizers.backends.protobuf import read_fields
from suite import examples, thinned

HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep object": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "digits": b'{"id":' + b"9" * 5000 + b',"text":"a"}\n',
    "too large a number": b'{"text":"a","x":1e400}\n',
    "NaN": b'{"text":"a","x":NaN}\n',
    "twice": b'{"text":"a","text":"b"}\n',
    "comma": b'{"text":"a",}\n',
    "surrogate": b'{"text":"\\ud800"}\n',
    "latin 1": b'{"text":"\xe9"}\n',
    "UTF-16": '{"text":"a"}\n'.encode("utf-16"),
    "CR alone": b'{"text":"a"}\r{"text":"b"}\r',
    "zeros": bytes(5000),
    "a long name": b'{"' + b"n" * 100_000 + b'":1}\n',
    "line breaks in a name": b'{"a\\nb\\u001b[2J":1}\n',
    "list": b"[]",
    "number": b"5",
    "null": b"null",
}


PEAK_KIB = """
import resource, sys
def peak_kib():
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10  # bytes on macOS
    with open("/proc/self/status") as status:  # ru_maxrss would be the parent's, where that was larger
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
"""
"""Source of a function that gives the peak memory of a child process."""


def read_rows(path: Path) -> None:
    for _ in read_samples(path):
        pass


def open_tokenizer(path: Path) -> None:
    tokenizer = load_tokenizer(path)
    tokenizer.decode(tokenizer.encode("a b"))
    compute_fingerprint(tokenizer)


def open_companion(path: Path) -> None:
    """A file beside a sound `tokenizer.json`."""
    load_tokenizer("byte").save(path.parent / "folder")
    (path.parent / "folder" / path.name).write_bytes(path.read_bytes())
    open_tokenizer(path.parent / "folder")


def open_merges(path: Path) -> None:
    for name in ("vocab.json", "merges.txt"):
        if not (path.parent / name).exists():
            (path.parent / name).write_text("{}" if name == "vocab.json" else "")
    open_tokenizer(path.parent)


def use_template(path: Path) -> None:
    chat = ChatSample("0", (Message("user", "hi"), Message("assistant", "yo")))
    Encoder(load_tokenizer("byte"), template=str(path)).encode(chat)


def check_fingerprint(path: Path) -> None:
    verify_fingerprint(compute_fingerprint(load_tokenizer("byte")), path)


READERS: dict[str, Callable[[Path], None]] = {
    **dict.fromkeys(["r.jsonl", "r.ndjson", "r.json", "r.csv", "r.tsv", "r.txt", "r.jsonl.gz"], read_rows),
    "r.parquet": read_rows,
    "tokenizer.json": open_tokenizer,
    "tokenizer.model": open_tokenizer,
    "t.tiktoken": open_tokenizer,
    **dict.fromkeys(
        ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.json"], open_companion
    ),
    "chat_template.jinja": open_companion,
    **dict.fromkeys(["vocab.json", "merges.txt"], open_merges),
    "t.jinja": use_template,
    "fingerprint.json": check_fingerprint,
    **dict.fromkeys(["suite.json", "suite.yaml", "suite.toml"], lambda path: void(read_suite(path))),
}


def void(_: object) -> None:
    """Leaves a result aside."""


def held(read: Callable[[Path], None], path: Path) -> None:
    """Reads, or is refused in one line."""
    try:
        read(path)
    except LazarusError as error:
        assert "\n" not in error.message and "\x1b" not in error.message and len(error.message) < 2100


@pytest.mark.parametrize("content", HOSTILE, ids=str)
@pytest.mark.parametrize("name", READERS, ids=str)
def test_every_reader_refuses_hostile_files_in_one_line(tmp_path: Path, name: str, content: str):
    path = tmp_path / name
    path.write_bytes(gzip.compress(HOSTILE[content]) if name.endswith(".gz") else HOSTILE[content])
    held(READERS[name], path)


@pytest.mark.parametrize("name", [name for name in READERS if name not in ("chat_template.jinja",)])
def test_every_reader_refuses_devices_and_pipes_at_once(tmp_path: Path, name: str):
    if READERS[name] is open_companion:
        pytest.skip("a companion is a regular file or it is not there")
    (tmp_path / "device").mkdir()
    (tmp_path / "device" / name).symlink_to("/dev/zero")
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / name)
    for folder in ("device", "pipe"):
        with pytest.raises(LazarusError):
            READERS[name](tmp_path / folder / name)


SOUND = {
    "r.jsonl": b'{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":null,"tool_calls":[{"id":"1",'
    b'"function":{"name":"f","arguments":"{\\"a\\":1}"}}]}],"tools":"[]"}\n{"id":"b","messages":[]}\n',
    "r.csv": b'prompt,completion\na,b\n"e\n,",f\n',
    "tokenizer_config.json": b'{"bos_token":{"content":"<bos>"},"eos_token":"<eos>","chat_template":[{"name":"default","template":"x"}]}',
    "fingerprint.json": b'{"version":1,"components":{"a":"b"},"special_ids":{},"library":"x"}',
    "suite.yaml": b"tokenizer: byte\ntests:\n  - text: hello\n    ids: [1, 2]\n",
}
PIECES = [
    b"1e400",
    b"-1",
    b"NaN",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b'""',
    b'"\\ud800"',
    b"0",
    b"9" * 5000,
    b"[" * 3000,
    b"\xff",
    b"\xef\xbb\xbf",
]


@pytest.mark.slow
@settings(max_examples=examples(300))
@given(st.sampled_from(sorted(SOUND)), st.data())
def test_any_mutation_of_a_sound_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
):
    content = SOUND[name]
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(begin, min(begin + 20, len(content))))
        content = content[:begin] + data.draw(st.sampled_from(PIECES) | st.binary(max_size=4)) + content[end:]
    path = tmp_path_factory.mktemp("mutated") / name
    path.write_bytes(content)
    held(READERS[name], path)


def test_a_row_of_just_the_bound_is_read_and_a_longer_one_refused(tmp_path: Path):
    begin, end = b'{"text":"', b'"}\n'
    path = tmp_path / "r.jsonl"
    path.write_bytes(begin + b"a" * (MAX_ROW_BYTES - len(begin + end) + 1) + end)
    assert len(list(read_samples(path))) == 1
    path.write_bytes(begin + b"a" * MAX_ROW_BYTES + end)
    with pytest.raises(SampleError, match=rf"r\.jsonl:1: .* more than {MAX_ROW_BYTES:,} bytes") as caught:
        list(read_samples(path))
    assert caught.value.code == "LT-E316"


@pytest.mark.parametrize("name", ["r.csv", "r.txt"])
def test_a_row_of_other_forms_has_the_same_bound(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b'text\n"' + b"aa\n" * (MAX_ROW_BYTES // 3 + 10))
    with pytest.raises(SampleError, match=f"{MAX_ROW_BYTES:,} bytes") as caught:
        list(read_samples(tmp_path / name))
    assert caught.value.code == "LT-E316"


@pytest.mark.parametrize("given_id", ['"' + "a" * (MAX_ID_BYTES + 1) + '"', "9" * 4200, '"' + "\u00e9" * 2049 + '"'])
def test_an_id_beyond_the_bound_is_refused(tmp_path: Path, given_id: str):
    (tmp_path / "r.jsonl").write_text(f'{{"id":{given_id},"text":"a"}}\n')
    with pytest.raises(SampleError, match=f"the limit is {MAX_ID_BYTES:,}"):
        list(read_samples(tmp_path / "r.jsonl"))


def test_blank_lines_at_the_end_are_counted(tmp_path: Path):
    (tmp_path / "r.jsonl").write_bytes(b'{"text":"a"}\n' + b"\n" * MAX_BLANK_LINES)
    assert len(list(read_samples(tmp_path / "r.jsonl"))) == 1
    (tmp_path / "r.jsonl").write_bytes(b'{"text":"a"}\n' + b"\n" * (MAX_BLANK_LINES + 1))
    with pytest.raises(SampleError, match="blank lines"):
        list(read_samples(tmp_path / "r.jsonl"))


FILLERS = {"zeros": b"\0", "line": b"a", "lines": b"\n", "deep": b"["}


@pytest.mark.slow
@pytest.mark.parametrize("name", thinned(FILLERS, ["line", "deep"]))
@pytest.mark.thorough
def test_a_gigabyte_of_gzip_is_refused_in_bounded_memory(tmp_path: Path, name: str):
    piece = FILLERS[name] * (1 << 20)
    path = tmp_path / "r.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for _ in range(1000):
            stream.write(piece)
    code = f"""{PEAK_KIB}
if True:
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
        from lazarus_core.errors import LazarusError
        from lazarus_tokenkit import read_samples
        try:
            list(read_samples({str(path)!r}))
        except LazarusError as error:
            print(error.code, peak_kib())
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    refused, peak = done.stdout.split()
    assert refused.startswith("LT-E3") and int(peak) < 500_000


def test_a_suite_with_aliases_is_refused(tmp_path: Path):
    bomb = "a: &a [x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)},*{chr(97 + n)}]\n" for n in range(24)
    )
    (tmp_path / "s.yaml").write_text(bomb)
    with pytest.raises(LazarusError, match="an alias in line 2"):
        read_suite(tmp_path / "s.yaml")


def test_a_template_with_an_integer_of_5000_digits_is_malformed(tmp_path: Path):
    (tmp_path / "t.jinja").write_text("{{ " + "9" * 5000 + " }}")
    with pytest.raises(LazarusError, match="is malformed"):
        use_template(tmp_path / "t.jinja")


def field(number: int, content: bytes) -> bytes:
    assert len(content) < 1 << 14
    return bytes([number << 3 | 2, len(content) & 127 | 128, len(content) >> 7]) + content


def test_pieces_of_a_sentencepiece_model_are_bounded_and_sound(tmp_path: Path):
    for piece in (b"", b"\x15\x00\x00\x80\x7f", field(1, b"a") + b"\x15\x00\x00\xc0\x7f"):
        (tmp_path / "t.model").write_bytes(field(1, piece))
        with pytest.raises(TokenizerError) as caught:
            load_tokenizer(tmp_path / "t.model")
        assert caught.value.code == "LT-E110"
    long = field(1, field(1, b"a" * 16000))
    assert len(list(read_fields(long))) == 1
    (tmp_path / "t.model").write_bytes(long * 10)
    with pytest.raises(TokenizerError, match="too long"):
        load_tokenizer(tmp_path / "t.model")


@pytest.mark.parametrize("value", [5, True, 1.5, [], ["a"], {}, {"content": 5}])
@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json"])
def test_a_mistyped_role_is_named(tmp_path: Path, name: str, value: object):
    load_tokenizer("byte").save(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()  # the first file that names a role decides
    (tmp_path / name).write_text(json.dumps({"eos_token": value}))
    with pytest.raises(TokenizerError, match=rf"{name} of .*: `eos_token` is "):
        load_tokenizer(tmp_path)


def test_a_damaged_parquet_file_is_refused_wherever_it_is_damaged(tmp_path: Path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    buffer = io.BytesIO()
    parquet.write_table(arrow.table({"text": ["a", "b"] * 50}), buffer)
    sound = buffer.getvalue()
    for place in range(0, len(sound), 7):
        (tmp_path / "r.parquet").write_bytes(sound[:place] + bytes([sound[place] ^ 0x55]) + sound[place + 1 :])
        held(read_rows, tmp_path / "r.parquet")
