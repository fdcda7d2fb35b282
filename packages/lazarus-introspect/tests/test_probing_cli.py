"""The commands of probing: tables, JSON, files, and one line for bad input."""

import json
from pathlib import Path

import pytest

from lazarus_core.console import run
from lazarus_introspect.cli.app import app

GOOD, BAD = ("happy", "glad", "merry", "kind", "nice"), ("sad", "angry", "mean", "bad", "lost")
ANSWERS = {
    "Once upon a": " time",
    "there was a little": " girl",
    "The capital of France is": " Paris",
    "Lily and": " Tom",
}
SMALL = ["--values", "2-5", "--permutations", "19", "--layers", "1,5"]


@pytest.fixture
def ask(data, capsys, tmp_path, monkeypatch):
    """Runs a command in this process, in a folder with data: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"prompt": f"{who} was {word} and", "label": label}
        for label, words in (("good", GOOD), ("bad", BAD))
        for word in words
        for who in ("Tom", "Lily")
    ]
    (tmp_path / "moods.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    rows = [{"prompt": prompt, "answer": answer} for prompt, answer in ANSWERS.items()]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    model = ["-m", str(data / "models/stories260k")]

    def asked(command, *words):
        with pytest.raises(SystemExit) as ended:
            run(
                lambda **options: app(
                    [command, *([] if command in ("directions", "replay") else model), *words], **options
                ),
                "lazarus-introspect",
            )
        shown = capsys.readouterr()
        return ended.value.code, shown.out, shown.err

    return asked


COMMANDS = {
    "probe": (
        ["-d", "moods.jsonl", "--raw", "--layers", "0,3", "--permutations", "19", "-p", "Tim was sad and"],
        ["bag of tokens", "blocks.3.resid_pre", "bad 10, good 10; 20 different prompts", "'Tim was sad and': '"],
    ),
    "embedding": (["-n", "10", "--permutations", "19"], ["no evidence beyond a bag of tokens", "right operand", "R2"]),
    "operand-directions": (SMALL, ["conclusion  no evidence", "resid_final", "(one-hot)"]),
    "commutativity": ([*SMALL, "--controls", "19"], ["conclusion   no evidence", "19 symbols", "p controls"]),
    "arithmetic": (["-n", "4", "--digits", "1", "--operators", "+,*"], ["no answer is right", "baseline", "0 of 8"]),
    "neurons": (["-d", "moods.jsonl", "--raw", "--layers", "0-1"], ["by chance 17", "with q <= 0.05"]),
    "clusters": (
        ["-d", "moods.jsonl", "--raw", "--layers", "2", "--nulls", "19", "--algorithm", "ward"],
        ["silhouette", "blocks.2.resid_pre", "q <= 0.05"],
    ),
    "uncertainty": (
        ["-d", "answers.jsonl", "--raw", "--samples", "5"],
        ["calibration of probability", "calibration of agreement", "AUROC", "0.90 to 1.00", "' time'"],
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_print_a_table_and_json(command, ask):
    words, expected = COMMANDS[command]
    code, shown, said = ask(command, *words)
    assert (code, said) == (0, "")
    assert [each for each in expected if each not in shown] == []
    code, shown, _ = ask(command, *words, "--json", "--html", "page.html")
    found = json.loads(shown)
    assert (code, found["analysis"]) == (0, command)
    assert len(found["provenance"]["weights"]) == 64 and len(found["prompts"]) == len(found["prompt_ids"]) > 3
    page = Path("page.html").read_text("utf-8")
    assert 'class="map"' in page or 'class="bars"' in page
    Path("result.json").write_text(shown, "utf-8")
    with pytest.raises(SystemExit) as ended:
        run(lambda **options: app(["replay", "result.json"], **options), "lazarus-introspect")
    assert ended.value.code == 0


def test_a_direction_goes_from_a_probe_to_steering(ask, tmp_path):
    probe = ["-d", "moods.jsonl", "--raw", "--permutations", "19"]
    for method in ("lda", "mean_difference"):
        code, shown, said = ask("probe", *probe, "--layers", "3", "--direction", method, "-o", f"made/{method}.json")
        assert code == 0 and f"wrote made/{method}.json" in said and "good - bad at blocks.3.resid_pre" in shown
    code, shown, _ = ask(
        "steer", "-p", "Tom was", "--raw", "--direction", "made/lda.json", "--alpha", "1", "--max-tokens", "2"
    )
    assert code == 0 and "blocks.3.resid_pre" in shown
    code, shown, _ = ask("directions", "made/lda.json", "made/mean_difference.json")
    assert code == 0 and "(lda)" in shown and "percentile" in shown
    shown = ask("directions", "made/lda.json", "made/mean_difference.json", "--json", "--html", "page.html")[1]
    found = json.loads(shown)
    assert found["command"]["settings"]["files"] == ["made/lda.json", "made/mean_difference.json"]
    Path("result.json").write_text(shown, "utf-8")
    assert "equal, bit for bit" in ask("replay", "result.json")[1]
    assert ask("directions", "made/lda.json", "made/lda.json", "--html", "made/lda.json", "--force")[0] == 2
    assert found["cosines"][0][0] == pytest.approx(1) and 0 < found["cosines"][0][1] < 1
    (tmp_path / "mine.txt").write_text("mine", "utf-8")
    code, _, said = ask("probe", *probe, "--direction", "lda", "-o", "mine.txt")
    assert code == 2 and "mine.txt" in said and (tmp_path / "mine.txt").read_text("utf-8") == "mine"
    assert ask("probe", *probe, "--layers", "3", "--direction", "lda", "-o", "mine.txt", "--force")[0] == 0


def test_a_replay_writes_no_direction(ask, tmp_path):
    words = [
        "-d",
        "moods.jsonl",
        "--raw",
        "--permutations",
        "19",
        "--layers",
        "3",
        "--direction",
        "lda",
        "-o",
        "d.json",
    ]
    (tmp_path / "probe.json").write_text(ask("probe", *words, "--json")[1], "utf-8")
    (tmp_path / "d.json").unlink()
    code, shown, said = ask("replay", "probe.json")
    assert (code, said) == (0, "") and "equal, bit for bit" in shown
    assert not (tmp_path / "d.json").exists()


def test_uncertainty_of_a_prompt(ask):
    code, shown, said = ask("uncertainty", "-p", "Once upon a", "--raw")
    assert (code, said) == (0, "") and "' time'" in shown and "calibration" not in shown


@pytest.mark.parametrize(
    "command, words, expected",
    [
        ("probe", ["-d", "nix.jsonl"], "nix.jsonl"),
        ("probe", ["-d", "answers.jsonl"], "answers.jsonl:1: `label` must be"),
        ("probe", ["-d", "moods.jsonl", "--layers", "9"], "layer 9 does not exist; layers are 0 to 5 [LI-E140]"),
        ("probe", ["-d", "moods.jsonl", "--site", "attn.z"], "probe a site with B T D [LI-E083]"),
        ("probe", ["-d", "moods.jsonl", "--folds", "12"], "10 different prompts in class 1 of 2, but 12 folds need 12"),
        ("probe", ["-d", "moods.jsonl", "--penalty", "-1"], "--penalty -1.0: give a number above 0"),
        ("probe", ["-d", "moods.jsonl", "-o", "x.json"], "choose its method by --direction [LI-E146]"),
        ("neurons", ["-d", "answers.jsonl"], "answers.jsonl:1: `label` must be"),
        ("clusters", ["-d", "moods.jsonl", "-k", "40"], "[LI-E087]"),
        ("commutativity", ["--operator", "-"], "--operator '-' is unknown: choose from + * [LI-E089]"),
        ("operand-directions", ["--template", "{a}{b}"], "--template '{a}{b}' needs {op} once"),
        ("operand-directions", ["--values", "2-4"], "--values has 3 values: give 4 to 40"),
        ("arithmetic", ["--digits", "0"], "--digits 0: give 1 to 9 [LI-E089]"),
        ("arithmetic", ["--operators", ","], "--operators ',' is empty"),
        ("uncertainty", [], "give prompts by -p, or a file with answers by -d [LI-E146]"),
        ("uncertainty", ["-d", "moods.jsonl"], "moods.jsonl:1: `answer` must be"),
        ("uncertainty", ["-p", "a", "--samples", "3"], "--samples needs answers"),
        ("uncertainty", ["-p", "a", "--temperature", "0"], "--temperature 0.0: give a number above 0"),
        ("directions", ["moods.jsonl"], "moods.jsonl"),
        ("steer", ["-p", "a"], "give --direction, or --positive, --negative and --layer"),
    ],
)
def test_bad_input_is_one_line(command, words, expected, ask):
    code, shown, said = ask(command, *words)
    assert (code, shown, said.count("\n")) == (2, "", 1)
    assert expected in said
    assert "Traceback" not in said
