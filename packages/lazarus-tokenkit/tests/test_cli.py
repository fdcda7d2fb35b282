import json
from pathlib import Path

import pytest

from lazarus_tokenkit import cli


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a command line as the console script does: exit code, stdout, stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["lazarus-tokenkit", *words])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        shown = capsys.readouterr()
        return int(exit_.value.code or 0), shown.out, shown.err

    return call


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
    assert json.loads(out) == {"ids": [97, 98], "tokens": ["a", "b"], "count": 2}


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
    assert f"lazarus data batchplan build -l {output} -e 1 -b 8192 -o PLAN" in err
    _, out, _ = call("lengths", "stats", "-l", output, "--json")
    assert {name: json.loads(out)[name] for name in ("count", "min", "p50", "max")} == {
        "count": 9,
        "min": 5,
        "p50": 17,
        "max": 29,
    }
    assert "9 samples" in call("lengths", "stats", "-l", output)[1]


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
            "three kinds",
        ),
        (["lengths", "stats", "-l", "none"], "none does not exist"),
        (["fingerprint", "-t", "byte", "--verify", "none"], "none does not exist"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(call, words: list[str], message: str):
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and message in err and err.count("\n") == 1
