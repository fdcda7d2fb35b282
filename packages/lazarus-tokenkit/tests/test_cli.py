import io
import json
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from lazarus_core.console.color import plain
from lazarus_tokenkit import read_samples
from lazarus_tokenkit.errors import SampleError

QA = ("--prompt-field", "q", "--completion-field", "a")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps({"q": f"{n}?", "a": "yes" * n}) + "\n" for n in range(9)))
    return path


def test_encode_and_decode_are_inverse(call):
    _, ids, _ = call("encode", "-t", "byte", "hé")
    assert ids == "104,195,169\n"
    assert call("decode", "-t", "byte", "--ids", ids.strip())[:2] == (0, "hé\n")
    _, out, _ = call("encode", "-t", "byte", "--json", "ab")
    assert json.loads(out) == {
        "ids": [97, 98],
        "tokens": ["a", "b"],
        "pieces": ["a", "b"],
        "offsets": [[0, 1], [1, 2]],
        "count": 2,
    }


def test_encode_shows_where_tokens_begin(call, monkeypatch: pytest.MonkeyPatch):
    _, out, _ = call("encode", "-t", "char:", "--pieces", "a b")
    assert out.splitlines()[2] == "a| |b" and "0:1" in out
    monkeypatch.setattr("sys.stdin", io.StringIO("hi"))
    assert call("encode", "-t", "byte", "-")[1] == "104,105\n"
    assert call("encode", "-t", "byte", "--literal", "<|bos|>")[1].count(",") == 6
    assert call("decode", "-t", "byte", "--skip-special", "--ids", "257 65")[1] == "A\n"


@pytest.mark.parametrize("handler", ["strict", "surrogateescape"])
def test_stdin_that_is_not_utf8_or_closed_is_refused(call, monkeypatch: pytest.MonkeyPatch, handler: str):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\xff"), "utf-8", handler))
    code, _, err = call("encode", "-t", "byte", "-")
    assert code == 2 and "not UTF-8 from" in err and " 2 on [LT-E501]" in err
    monkeypatch.setattr("sys.stdin", None)
    assert "stdin is closed" in call("compare", "-t1", "byte", "-t2", "char:", "-")[2]


def test_vocab_is_searched(call):
    _, out, err = call("vocab", "-t", "byte", "--special", "--json")
    assert [entry["id"] for entry in json.loads(out)] == [256, 257, 258, 259] and "4 of 4" in err
    assert call("vocab", "-t", "byte", "--regex", "^[ab]$")[1].split()[::3] == ["97", "98"]
    assert call("vocab", "-t", "byte", "--from", "65", "--to", "66")[1].count("\n") == 2
    assert call("vocab", "-t", "byte", "--limit", "3")[1].count("\n") == 3
    assert call("vocab", "-t", "byte", "--regex", "(")[0] == 2


def test_compare_shows_two_cuts_and_figures(call, data: Path):
    _, out, _ = call("compare", "-t1", "byte", "-t2", "char:", "h\u00e9")
    assert "byte: 3 tokens" in out and "boundary F1" in out
    _, out, _ = call("compare", "-t1", "byte", "-t2", "char:", "-d", str(data), *QA, "--json")
    assert json.loads(out)["ratio"] == 1
    assert call("compare", "-t1", "byte", "-t2", "char:")[0] == 2


@pytest.mark.parametrize("command", ["coverage", "entropy", "fit-score", "efficiency", "vocab-suggest"])
def test_every_analysis_speaks_to_people_and_programs(call, data: Path, command: str):
    words = ["analyze", command, "-t", "byte", "-d", str(data), *QA]
    code, out, _ = call(*words)
    assert code == 0 and len(out.splitlines()) >= 3
    assert isinstance(json.loads(call(*words, "--json")[1]), dict)


def test_an_analysis_is_drawn_as_one_page(call, data: Path, tmp_path: Path):
    page = tmp_path / "page.html"
    assert call("analyze", "entropy", "-t", "byte", "-d", str(data), *QA, "--html", str(page))[0] == 0
    text = page.read_text()
    assert text.count("<svg") == 2 and "src=" not in text and text.count("bits/byte") == 1
    assert f"<title>Entropy of tokenizer byte on {data.name}</title>" in text


PAGES = {
    "coverage": ("--by-file",),
    "efficiency": (),
    "entropy": (),
    "fit-score": (),
    "vocab-suggest": ("-n", "3"),
    "words": (),
}


@pytest.mark.parametrize("command", PAGES)
def test_every_analysis_has_a_page_that_says_each_thing_once(call, data: Path, tmp_path: Path, command: str):
    page = tmp_path / "page.html"
    found = call("analyze", command, "-t", "byte", "-d", str(data), *QA, *PAGES[command], "--html", str(page))
    text = unescape(page.read_text())
    assert found[0] == 0
    for line in found[1].splitlines():
        if not re.match(r" *[\d,]+ - [\d,]+ ", line):  # the bars of `efficiency`, which the page draws
            assert all(cell in text for cell in re.split("  +", line.strip())), "what is printed is on the page"
    assert text.count("<svg") >= 2 and '<div class="up-title">documents</div>' in text
    assert text.count("unseen mass") == 1
    assert re.search(r"'y', id 121</span>.*?>36</span>", text), "a frequent token and its count"


def test_a_page_of_nothing_is_a_page(call, tmp_path: Path):
    (tmp_path / "d.jsonl").write_text('{"text":""}\n')
    for command in ("coverage", "efficiency", "entropy", "vocab-suggest", "words"):
        page = tmp_path / f"{command}.html"
        assert call("analyze", command, "-t", "byte", "-d", str(tmp_path / "d.jsonl"), "--html", str(page))[0] == 0
        assert "words kept whole" in page.read_text()


def test_a_difference_is_drawn_as_one_page(call, data: Path, tmp_path: Path):
    page = tmp_path / "page.html"
    words = ("analyze", "diff", "-t1", "byte", "-t2", "char:yes?", "--html", str(page))
    assert call(*words)[0] == 0 and page.read_text().count('class="bars"') == 1
    assert call(*words, "-d", str(data), *QA)[0] == 0
    text = page.read_text()
    assert text.count("<svg") == 2 and "boundary F1" in text and "only char</span>" in text


def test_two_tokenizers_of_one_name_are_told_apart(call, tmp_path: Path):
    page = tmp_path / "page.html"
    _, out, _ = call("analyze", "diff", "-t1", "byte", "-t2", "byte", "--html", str(page))
    assert "only byte (1): nothing\nonly byte (2): nothing" in out and "only byte (2)</span>" in page.read_text()
    assert "byte (2): 1 tokens" in call("compare", "-t1", "byte", "-t2", "byte", "a")[1]


def test_files_of_one_name_are_told_apart(call, data: Path, tmp_path: Path):
    (tmp_path / "b").mkdir()
    other = tmp_path / "b" / data.name
    other.write_bytes(data.read_bytes())
    words = ("analyze", "coverage", "-t", "byte", "-d", str(data), "-d", str(other), *QA, "--by-file", "--json")
    assert list(json.loads(call(*words)[1])["files"]) == [str(data), str(other)]


def test_files_are_held_against_each_other(call, data: Path):
    _, out, _ = call("analyze", "coverage", "-t", "byte", "-d", str(data), *QA, "--by-file", "--json")
    assert json.loads(out)["worst_group_ratio"] == 1
    assert "worst file" in call("analyze", "coverage", "-t", "byte", "-d", str(data), *QA, "--by-file")[1]


def test_diff_names_what_only_one_vocabulary_has(call, data: Path):
    _, out, _ = call("analyze", "diff", "-t1", "char:yes?", "-t2", "byte", "-d", str(data), *QA)
    assert "only byte" in out and "ratio" in out


def test_inspect_says_what_a_file_holds(call, data: Path):
    code, out, _ = call("samples", "inspect", str(data), *QA)
    assert code == 0 and "prompt and completion" in out and "no token to learn from: 1 row (" in out
    data.write_text(data.read_text() + "{")
    code, out, err = call("samples", "inspect", str(data), *QA, "--json", "-t", "byte")
    found = json.loads(out)
    assert code == 2 and found["samples"] == 9 and "d.jsonl:10:2: not JSON" in found["error"]
    assert err.endswith(f"error: {found['error']} [{found['code']}]\n")
    assert found["lengths"]["max"] == 48 and found["unit"] == "tokens"


def test_inspect_and_stats_say_the_same_of_lengths(call, data: Path, tmp_path: Path):
    lengths = str(tmp_path / "l.jsonl")
    assert call("lengths", "build", "-t", "byte", "-d", str(data), *QA, "-o", lengths)[0] == 0
    _, stats, _ = call("lengths", "stats", "-l", lengths, "--json")
    _, found, _ = call("samples", "inspect", str(data), *QA, "-t", "byte", "--json")
    assert json.loads(stats).items() >= json.loads(found)["lengths"].items()


def test_inspect_and_prepare_refuse_in_the_same_words(call, tmp_path: Path):
    for number, content in enumerate([b"", b"{", b"\n", bytes(range(256)), b'[{"text": "a"}]', b'{"nix": 1}']):
        (tmp_path / f"d{number}.jsonl").write_bytes(content)
        found = call("samples", "inspect", str(tmp_path / f"d{number}.jsonl"))
        assert found == call(
            "samples", "prepare", str(tmp_path / f"d{number}.jsonl"), "-o", str(tmp_path / "new.jsonl")
        )
        assert found[:2] == (2, "") and found[2].count("\n") == 1
    assert call("samples", "inspect", str(tmp_path / "none.jsonl"))[:2] == (2, "")


def test_vocabularies_are_held_against_each_other_without_a_corpus(call):
    _, out, _ = call("analyze", "diff", "-t1", "char:ab", "-t2", "char:ac", "--json")
    assert json.loads(out)["vocabulary"]["only_second"] == ["c"]


def test_an_engine_that_is_not_used_has_a_dash_and_a_reason(call, data: Path):
    _, out, _ = call("benchmark", "-t", "byte", "-d", str(data), *QA, "--repeats", "1")
    assert any(line.split()[:4] == ["sentencepiece", "-", "-", "-"] for line in out.splitlines())


def test_a_fingerprint_says_what_is_not_there_and_which_ids(call):
    out = call("fingerprint", "-t", "char:")[1]
    assert "chat_template     none" in out and "bos 2, eos 3, pad 0, unk 1, adds_bos True" in out


def test_no_line_of_help_is_cut(call):
    for words in ((), ("analyze",), ("lengths",), ("samples",), ("templates",), ("train",)):
        lines = call(*words, "--help")[1].partition("Commands:")[2].splitlines()
        assert [line for line in lines if line.endswith("...")] == []


def test_benchmark_measures_what_is_there(call, data: Path):
    _, out, _ = call("benchmark", "-t", "byte", "-d", str(data), *QA, "--repeats", "1", "--json")
    speeds = json.loads(out)
    assert speeds[0]["megabytes_per_s"] > 0 and {each["name"].split()[0] for each in speeds} >= {"tokenizers", "decode"}


@pytest.mark.parametrize("ids", ["260", "-1", "a"])
def test_ids_outside_the_vocabulary_are_one_line_and_exit_2(call, ids: str):
    code, out, err = call("decode", "-t", "byte", f"--ids={ids}")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_fingerprint_saves_and_verifies(call, tmp_path: Path):
    path = tmp_path / "f.json"
    _, out, _ = call("fingerprint", "-t", "byte", "--json", "--save", str(path))
    assert json.loads(out) == json.loads(path.read_text())
    assert len(json.loads(out)["fingerprint"]) == 64
    assert call("fingerprint", "-t", "byte", "--verify", str(path))[0] == 0
    saved = json.loads(path.read_text())
    saved["components"]["merges"] = "another"
    path.write_text(json.dumps(saved))
    code, out, err = call("fingerprint", "-t", "byte", "--verify", str(path))
    assert (code, out) == (1, "") and "merges changed" in err


def test_lengths_are_built_and_shown(call, data: Path, tmp_path: Path):
    output = str(tmp_path / "lengths.jsonl")
    build = ("lengths", "build", "-d", str(data), "-t", "byte", "-o", output)
    code, out, err = call(*build, "--prompt-field", "q", "--completion-field", "a", "--template", "plain")
    assert code == 0 and "9 samples, 153 tokens, 117 with loss, longest 29, template `plain`" in out
    assert f"lazarus-plan build -l {output} -e 1 -b 8192 -o PLAN" in err
    _, out, _ = call("lengths", "stats", "-l", output, "--json")
    assert {name: json.loads(out)[name] for name in ("count", "min", "p50", "max")} == {
        "count": 9,
        "min": 5,
        "p50": 17,
        "max": 29,
    }
    assert "9 samples" in call("lengths", "stats", "-l", output)[1]


@pytest.mark.slow
def test_another_locale_changes_neither_names_nor_texts(call, tmp_path: Path):
    (tmp_path / "d\u00e4").mkdir()
    (tmp_path / "d\u00e4" / "t\u03a9.txt").write_text("h\u00e9\n", "utf-8")
    build = ("lengths", "build", "-d", str(tmp_path / "d\u00e4"), "-t", "byte", "-o")
    call(*build, str(tmp_path / "here"))
    ascii_only = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", "from lazarus_tokenkit.__main__ import main; main()"]
    subprocess.run([*command, *build, tmp_path / "there"], env=ascii_only, check=True, capture_output=True)
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()
    decode = [*command, "decode", "-t", "byte", "--ids", "195,169"]
    assert subprocess.run(decode, env=ascii_only, check=True, capture_output=True).stdout == b"\xc3\xa9\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["encode", "-t", "nope", "x"], "no tokenizer `nope`"),
        (["lengths", "build", "-d", "none.jsonl", "-t", "byte", "-o", "o"], "none.jsonl does not exist"),
        (
            [
                "lengths",
                "build",
                "-d",
                "none.jsonl",
                "-t",
                "byte",
                "-o",
                "o",
                "--text-field",
                "a",
                "--prompt-field",
                "b",
            ],
            "different kinds",
        ),
        (["lengths", "stats", "-l", "none"], "none does not exist"),
        (["fingerprint", "-t", "byte", "--verify", "none"], "none does not exist"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(call, words: list[str], message: str):
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and message in err and err.count("\n") == 1


@pytest.mark.parametrize("place", [".", "/"])
def test_a_directory_is_no_place_for_a_file(call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.jsonl").write_text('{"text":"a"}\n')
    lengths = call("lengths", "build", "-t", "byte", "-d", "d.jsonl", "-o", place)
    saved = call("fingerprint", "-t", "byte", "--save", place)
    page = call("analyze", "coverage", "-t", "byte", "-d", "d.jsonl", "--html", place)
    for code, _, err in (lengths, saved, page):
        assert code == 2 and f"{place}" in err and "directory" in err and "\n" not in err.strip()
    assert [file.name for file in tmp_path.iterdir()] == ["d.jsonl"]


def test_only_a_file_of_its_kind_is_replaced(call, data: Path, tmp_path: Path):
    writers = {
        "a length cache": ("lengths", "build", "-t", "byte", "-d", str(data), *QA, "-o"),
        "a saved fingerprint": ("fingerprint", "-t", "byte", "--save"),
        "a page of Lazarus": ("analyze", "efficiency", "-t", "byte", "-d", str(data), *QA, "--html"),
    }
    for what, words in writers.items():
        place = tmp_path / "precious.csv"
        place.write_text("text\nmine\n")
        code, out, err = call(*words, str(place))
        assert (code, out) == (2, "") and f"exists and is not {what} written earlier" in err
        assert place.read_text() == "text\nmine\n"
        place.write_text("")  # as `mktemp` makes it
        assert [call(*words, str(place))[0] for _ in range(2)] == [0, 0], "its own kind is replaced"


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        (b'{"question":"q","answer":"a"}\n', "the options are --prompt-field and --completion-field"),
        (b'{"prompt":"q","answer":"a"}\n', "the option is --completion-field"),
    ],
)
def test_the_command_line_names_the_options_and_the_library_names_fields(call, tmp_path: Path, row: bytes, hint: str):
    data = tmp_path / "d.jsonl"
    data.write_bytes(row)
    code, out, err = call("lengths", "build", "-d", str(data), "-t", "byte", "-o", str(tmp_path / "o"))
    assert (code, out) == (2, "") and hint in err and err.count("\n") == 1
    with pytest.raises(SampleError) as caught:
        list(read_samples(data))
    assert "--" not in caught.value.message and "`completion`" in caught.value.message


@pytest.mark.parametrize("command", [("stats",), ("waste",)], ids=" ".join)
def test_a_length_cache_that_does_not_exist_names_the_command_that_builds_one(call, command: tuple[str, ...]):
    code, _, err = call("lengths", *command, "-l", "no.jsonl")
    assert code == 2 and "no.jsonl does not exist: build it with `lazarus-tokenkit lengths build` [LP-E001]" in err


@pytest.mark.parametrize(
    ("words", "bold"),
    [
        (("analyze", "coverage", "-t", "byte"), 0),
        (("analyze", "coverage", "-t", "byte", "--by-file"), 1),
        (("analyze", "entropy", "-t", "byte"), 0),
        (("analyze", "efficiency", "-t", "byte"), 0),
        (("analyze", "fit-score", "-t", "byte"), 1),
        (("analyze", "words", "-t", "byte"), 1),
        (("analyze", "vocab-suggest", "-t", "byte"), 1),
        (("analyze", "diff", "-t1", "byte", "-t2", "char:"), 2),
        (("compare", "-t1", "byte", "-t2", "char:"), 1),
        (("templates", "list"), 1),
    ],
    ids=lambda value: " ".join(value[:2]) + " by file" * ("--by-file" in value) if isinstance(value, tuple) else "",
)
def test_names_of_columns_and_of_tables_are_bold_and_nothing_else(
    call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], bold: int
):
    path = tmp_path / "text.txt"
    path.write_text("the cat and the dog\n" * 40)
    given = () if words[0] == "templates" else ("-d", str(path))
    without = call(*words, *given)
    assert without[0] == 0, without[2]
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = call(*words, *given)[1]
    assert plain(out) == without[1]
    assert sum("\x1b" in line for line in out.splitlines()) == bold
