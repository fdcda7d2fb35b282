"""Evaluation items in documents: recall over the forms in which they leak, and no false alarm on real text."""

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lazarus_corpus import EvaluationItems, SettingError, build_corpus, from_files, read_items
from lazarus_corpus.cli.app import app
from lazarus_corpus.contamination import compared_words
from lazarus_corpus.injection import FORMS, measure_recall
from lazarus_corpus.settings import ContaminationSettings
from suite import DATA

GSM8K = DATA / "datasets/gsm8k"
WIKITEXT = DATA / "datasets/text"
needs_data = pytest.mark.skipif(not GSM8K.exists(), reason="no real data")
QUESTION = "A farmer has twelve brown hens and sells half of them at the market on a rainy Tuesday, then buys nine more. How many?"


def items(*texts: str) -> EvaluationItems:
    return EvaluationItems(((f"e:{number}", text) for number, text in enumerate(texts, 1)), 5, 0.35)


@pytest.mark.parametrize("form", FORMS)
def test_an_item_is_found_in_every_form(form: str):
    document = "Something before it.\n" + FORMS[form](QUESTION) + "\nAnd something after it."
    hit = items("another question about trains that leave at nine for a far town", QUESTION).find(document)
    assert hit is not None and hit.item == "e:2"


def test_markers_are_no_words():
    assert compared_words("1. Which?\n(a) one\nB) two\n* 3 three") == ["which", "one", "two", "3", "three"]


def test_other_texts_and_short_items_are_not_found():
    found = items(QUESTION, "How many?")
    assert found.too_short == 1
    assert (
        found.find("A farmer has twelve cows. He went to the market on Monday and bought six more for himself.") is None
    )
    assert found.find("") is None
    assert EvaluationItems([], 5, 0.35).find(QUESTION) is None


@pytest.mark.parametrize("ngram", [5, 13, 20])
def test_recall_is_that_of_the_items_that_are_looked_for(ngram: int):
    short = "A farmer has twelve brown hens and sells half of them at the market."
    parts = [("e:1", short), ("e:2", QUESTION)]
    search = EvaluationItems(parts, ngram, 0.35)
    assert search.too_short == (ngram > 10)
    assert measure_recall(search, parts, ["Some other words are here."], 30, 0)["verbatim"] == 1.0


def test_an_evaluation_set_without_items_is_refused_whatever_the_others_have(tmp_path: Path):
    for number, content in enumerate(['{"question": "q"}\n', "", '{"question": "q"}\n'], 1):
        (tmp_path / f"{number}.jsonl").write_text(content)
    paths = [tmp_path / f"{number}.jsonl" for number in (1, 2, 3)]
    with pytest.raises(SettingError, match=r"2\.jsonl: no items"):
        read_items(paths)


def test_folders_of_evaluation_sets_have_no_influence(tmp_path: Path):
    found: list[list[tuple[str, str]]] = []
    for first, second in (("a", "b"), ("b", "a")):
        paths = [tmp_path / first / "x.jsonl", tmp_path / second / "y.jsonl"]
        for path in paths:
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps({"question": f"of {path.name}"}) + "\n")
        found.append(read_items(paths))
    assert found[0] == found[1] == [("x.jsonl:1", "of x.jsonl"), ("y.jsonl:1", "of y.jsonl")]


@needs_data
def test_recall_and_false_alarms_on_real_data():
    """Issue's bars: recall 0.95 in every form, at most 1e-4 false alarms on WikiText-2 against GSM8K."""
    parts = read_items([GSM8K / "test.jsonl"])
    search = EvaluationItems(parts, 5, 0.35)
    lines = [
        line for name in ("test", "valid") for line in (WIKITEXT / f"wikitext2-{name}.txt").read_text().split("\n")
    ]
    documents = [line for line in lines if len(line) > 100]
    assert len(documents) > 3_000
    assert [line for line in documents if search.find(line)] == []
    shares = measure_recall(search, parts, documents[:500], 60, 0)
    assert len(shares) == len(FORMS) + 3 and min(shares.values()) >= 0.95


@needs_data
@pytest.mark.thorough
def test_at_most_one_of_ten_thousand_pieces_of_wikipedia_is_a_false_alarm():
    """No alarm in 30,000 pieces: the rate is below 1e-4 with 95 % confidence (rule of three). Reports a build of real text too."""
    search = EvaluationItems(read_items([GSM8K / "test.jsonl", GSM8K / "train.jsonl"]), 5, 0.35)
    words = [word for name in ("test", "valid") for word in (WIKITEXT / f"wikitext2-{name}.txt").read_text().split()]
    starts = range(0, len(words) - 64, len(words) // 31_000)
    assert len(starts) >= 30_000
    assert sum(search.find(" ".join(words[start : start + 64])) is not None for start in starts) == 0


@needs_data
@pytest.mark.thorough
def test_a_build_of_wikipedia_reports_its_recall(tmp_path: Path):
    settings = from_files(
        [WIKITEXT / "wikitext2-valid.txt"], contamination=ContaminationSettings(against=(GSM8K / "test.jsonl",))
    )
    build_corpus(settings, tmp_path / "out")
    found = json.loads((tmp_path / "out/manifest.json").read_text())["contamination"]
    assert len(found["recall"]) == len(FORMS) + 3 and min(found["recall"].values()) >= 0.95


def test_a_build_drops_or_flags_with_the_item_as_witness(tmp_path: Path):
    (tmp_path / "evaluation.jsonl").write_text(json.dumps({"question": QUESTION, "answer": "fifteen"}) + "\n")
    generator = random.Random(0)
    words = [f"w{number}" for number in range(500)]
    rows = [{"id": str(number), "text": " ".join(generator.choices(words, k=60))} for number in range(20)]
    rows[7]["text"] += "\n" + QUESTION
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for action, left in (("drop", 19), ("flag", 20)):
        settings = from_files(
            [tmp_path / "d.jsonl"],
            contamination=ContaminationSettings(against=(tmp_path / "evaluation.jsonl",), action=action),  # pyright: ignore[reportArgumentType]
        )
        assert build_corpus(settings, tmp_path / action).documents == left
        name = "removed.jsonl" if action == "drop" else "flagged.jsonl"
        (line,) = map(json.loads, (tmp_path / action / name).read_text().splitlines())
        assert line["id"] == "7" and line["witness"].startswith("evaluation.jsonl:1 (")
        found = json.loads((tmp_path / action / "manifest.json").read_text())["contamination"]
        assert (found["texts"], found["too_short"], found["injected"]) == (1, 1, 60)
        assert found["recall"].keys() >= FORMS.keys() and min(found["recall"].values()) == 1.0
        card = (tmp_path / action / "card.md").read_text()
        assert "| 8 words a line | 100.0% |" in card and "| diluted 10 times | 100.0% |" in card
    named = [{"name": row["id"], "body": row["text"]} for row in rows]
    (tmp_path / "named.jsonl").write_text("".join(json.dumps(row) + "\n" for row in named))
    command = ["contamination", "--against", str(tmp_path / "evaluation.jsonl"), "--json"]
    command += ["-d", str(tmp_path / "named.jsonl"), "--text-field", "body", "--id-field", "name"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1 and json.loads(done.stdout.splitlines()[0])["id"] == "7"
    command = [
        "contamination",
        "--against",
        str(tmp_path / "evaluation.jsonl"),
        "-d",
        str(tmp_path / "d.jsonl"),
        "--json",
    ]
    done = CliRunner().invoke(app, command)
    first, last = map(json.loads, done.stdout.splitlines())
    assert done.exit_code == 1 and first["id"] == "7" and (last["documents"], last["found"]) == (20, 1)
