"""`lazarus eval`: reports, thresholds, tables over runs, and bad input."""

import csv
import json

import pytest
from typer.testing import CliRunner

from lazarus_core.cli_app import App
from lazarus_core.errors import LazarusError
from lazarus_models.cli.app import app
from lazarus_models.evaluation import Score, load_report
from lazarus_models.evaluation.page import evaluation_page
from lazarus_models.evaluation.tables import csv_table, json_table, markdown_table, named_runs, score_table
from lazarus_models.evaluation.thresholds import Threshold, load_thresholds

RUN = CliRunner()


def ask(*words):
    return RUN.invoke(app, ["eval", *map(str, words)])


def refused(*words):
    """The error of a command line."""
    result = ask(*words)
    assert isinstance(result.exception, LazarusError), result.output
    return result.exception


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data, tasks, thresholds."""
    folder = tmp_path_factory.mktemp("evaluation")
    rows = [
        {"question": "Once upon a time there was a little", "choices": [" girl", " economy"], "answer": place % 2}
        for place in range(4)
    ]
    (folder / "mc.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "story.txt").write_text("Once upon a time there was a little girl. " * 60)
    (folder / "pairs.jsonl").write_text('{"prompt": "Once", "chosen": " upon", "rejected": " qqq"}\n' * 2)
    (folder / "tasks.toml").write_text(
        '[[task]]\nkind = "choice"\ndata = "mc.jsonl"\ndelimiter = ""\n\n'
        '[[task]]\nkind = "perplexity"\nname = "story"\ndata = "story.txt"\nwindow = 64\n'
    )
    (folder / "thresholds.toml").write_text(
        '[[threshold]]\ntask = "choice:*"\nmetric = "acc"\nat_least = 0.4\ngrades = { good = 0.9, fair = 0.3 }\n\n'
        '[[threshold]]\nmetric = "perplexity"\nat_most = 100\ngrades = { A = 5, B = 30 }\n'
    )
    return folder


@pytest.fixture(scope="module")
def report(stories, folder):
    done = ask(
        "run",
        "-m",
        stories.path,
        "--tasks",
        folder / "tasks.toml",
        "-o",
        folder / "one.json",
        "--items",
        folder / "items.jsonl",
    )
    assert done.exit_code == 0, done.output
    return done


def test_a_run_prints_each_score_with_interval_and_baseline(report, folder):
    lines = report.stdout.splitlines()
    assert lines[0].split() == ["task", "metric", "value", "95%", "interval", "baseline", "items"]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["choice:mc", "acc"],
        ["choice:mc", "acc_norm"],
        ["choice:mc", "acc_bytes"],
        ["story", "perplexity"],
        ["story", "bits_per_byte"],
    ]
    found = load_report(folder / "one.json")
    assert found.score("choice:mc", "acc").value == 0.5 and found.tasks[1].settings["window"] == 64
    assert set(found.model["files"]) >= {"config.json", "model.safetensors"} and found.model["weights"] is None
    items = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    assert [each["task"] for each in items].count("choice:mc") == 4 and items[0]["values"]["acc"] in (0.0, 1.0)


def test_the_same_run_again_replaces_its_files_by_equal_ones(stories, report, folder):
    names = ("one.json", "items.jsonl")
    before = [(folder / name).read_bytes() for name in names]
    again = ask(
        *("run", "-m", stories.path, "--tasks", folder / "tasks.toml", "--batch-size", 8),
        *("-o", folder / "one.json", "--items", folder / "items.jsonl", "--json"),
    )
    assert again.exit_code == 0 and again.stdout.encode() == before[0]
    assert [(folder / name).read_bytes() for name in names] == before


@pytest.mark.parametrize(
    ("metric", "grades"), [("acc", "{ fair = 0.3, good = 0.9 }"), ("perplexity", "{ B = 30, A = 5 }")]
)
def test_grades_from_the_worst_to_the_best_are_refused(report, folder, tmp_path, metric, grades):
    path = tmp_path / "grades.toml"
    path.write_text(f'[[threshold]]\nmetric = "{metric}"\ngrades = {grades}\n')
    error = refused("report", folder / "one.json", "--thresholds", path)
    assert error.code == "LM-E508" and f"{path}: `grades` of `{metric}` go from the worst to the best" in error.message


def test_thresholds_decide_the_exit_code_and_the_grades(stories, report, folder):
    passes = ask(
        "report",
        folder / "one.json",
        "--fail-below",
        folder / "thresholds.toml",
        "--thresholds",
        folder / "thresholds.toml",
    )
    assert passes.exit_code == 0
    assert "0.5 (0.15 to 0.85) fair |" in passes.stdout, passes.stdout
    assert ") A |" in passes.stdout, passes.stdout
    strict = folder / "strict.toml"
    strict.write_text('[[threshold]]\nmetric = "acc"\nat_least = 0.4\nbound = "interval"\n')
    for words in (("report", folder / "one.json"), ("run", "-m", stories.path, "-t", f"choice={folder / 'mc.jsonl'}")):
        error = refused(*words, "--fail-below", strict)
        assert (error.code, error.exit_code) == ("LM-E512", 1)
    strict.write_text('[[threshold]]\nmetric = "acc"\ntask = "other"\nat_least = 0.4\n')
    error = refused("report", folder / "one.json", "--fail-below", strict)
    assert (error.code, error.exit_code) == ("LM-E508", 2) and "matches no score" in error.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "threshold: is missing"),
        ("[[threshold]]\nmetric = 'acc'", "needs `at_least`, `at_most` or `grades`"),
        ("[[threshold]]\nmetric = 'acc'\nat_least = nan", "must be a finite number"),
        ("[[threshold]]\nmetric = 'acc'\nleast = 1", "threshold.0.least: is unknown"),
        ("[[threshold]]\nmetric = 'acc'\ngrades = { A = 1, B = 3, C = 2 }", "must rise or fall"),
    ],
)
def test_bad_thresholds_are_refused(tmp_path, text, words):
    path = tmp_path / "thresholds.toml"
    path.write_text(text)
    with pytest.raises(LazarusError, match=words) as caught:
        load_thresholds(path)
    assert caught.value.code == "LM-E508" and str(path) in caught.value.message


def score(value, low=None, high=None, better="higher", metric="acc"):
    return Score("task", metric, value, low, high, 0.5, 9, better, "none" if low is None else "wilson", "random")


def test_a_grade_is_the_best_one_that_is_reached():
    rising = Threshold(metric="acc", grades={"A": 0.8, "B": 0.5})
    assert [rising.grade(score(value)) for value in (0.9, 0.8, 0.79, 0.4)] == ["A", "A", "B", None]
    falling = Threshold(metric="loss", grades={"A": 2, "B": 5})
    assert [falling.grade(score(value, better="lower")) for value in (1, 2, 3, 6)] == ["A", "A", "B", None]
    careful = Threshold(metric="acc", grades={"A": 0.8, "B": 0.5}, at_least=0.6, bound="interval")
    assert careful.grade(score(0.9, 0.7, 0.95)) == "B" and careful.passes(score(0.9, 0.7, 0.95))
    loss = Threshold(metric="loss", grades={"A": 2, "B": 5}, at_most=5, bound="interval")
    assert loss.grade(score(1, 0.5, 3, better="lower")) == "B" and not loss.passes(score(4, 3, 6, better="lower"))
    assert not careful.passes(score(0.9, 0.5, 0.95)) and careful.passes(score(0.7))


@pytest.fixture
def runs(report, folder):
    one = folder / "one.json"
    return named_runs([one, folder / "two.json"], [load_report(one), load_report(one)])


def test_tables_have_every_score_of_every_run(runs, folder):
    grades = load_thresholds(folder / "thresholds.toml")
    rows = list(csv.DictReader(csv_table(runs, grades).splitlines()))
    assert [(row["run"], row["metric"]) for row in rows][:2] == [("one", "acc"), ("one", "acc_norm")] and len(
        rows
    ) == 10
    assert rows[0]["grade"] == "fair" and rows[1]["grade"] == ""
    assert float(rows[3]["value"]) == runs[0].report.score("story", "perplexity").value
    table = json.loads(json_table(runs, grades))
    assert table["evaluation_table_version"] == 1 and len(table["scores"]) == 10
    assert table["scores"][0]["grade"] == "fair" and [each["name"] for each in table["runs"]] == ["one", "two"]
    lines = markdown_table(runs).splitlines()
    assert lines[2] == "| task | metric | better | baseline | one | two |"
    assert sum(line.startswith("| choice:mc") for line in lines) == 3
    assert len(score_table(runs[0].report.scores, grades).splitlines()) == 6


def test_runs_of_equal_names_are_told_apart(runs, folder):
    paths = [folder / "a/r.json", folder / "b/r.json", folder / "b/r.json"]
    names = [run.name for run in named_runs(paths, [runs[0].report] * 3)]
    assert len(set(names)) == 3


def test_a_page_has_a_chart_for_each_score(runs):
    text = evaluation_page(runs)
    assert text.count('<figure class="chart">') == 5 and "<h1>Evaluation of one and two</h1>" in text
    assert text == evaluation_page(runs) and "baseline" in text


@pytest.mark.parametrize("form", ["markdown", "csv", "json", "html"])
def test_a_table_is_written_and_replaced_by_its_like_alone(report, folder, tmp_path, form):
    output = tmp_path / "table"
    for _ in range(2):
        assert ask("report", folder / "one.json", "--format", form, "-o", output).exit_code == 0
    output.write_text("my notes\n")
    assert refused("report", folder / "one.json", "--format", form, "-o", output).code == "LP-E010"
    assert output.read_text() == "my notes\n"


def test_json_is_a_format(report, folder):
    assert (
        ask("report", folder / "one.json", "--json").stdout
        == ask("report", folder / "one.json", "--format", "json").stdout
    )
    assert refused("report", folder / "one.json", "--json", "--format", "csv").code == "LM-E501"


def test_two_models_are_compared(stories, folder, tmp_path):
    done = ask(
        *(
            "compare",
            "-m",
            stories.path,
            "--against",
            stories.path,
            "-t",
            f"choice={folder / 'mc.jsonl'}",
            "--limit",
            3,
        ),
        *("-o", tmp_path / "both.json", "--items", tmp_path / "items.jsonl"),
    )
    assert done.exit_code == 0 and "acc_difference" in done.stdout
    found = load_report(tmp_path / "both.json")
    assert found.score("choice:mc", "acc_difference").p == 1.0 and found.reference["name"] == stories.path.name
    assert len((tmp_path / "items.jsonl").read_text().splitlines()) == 6


def test_preferences_are_measured_against_a_reference_and_with_fewer_bits(stories, folder):
    done = ask(
        *("run", "-m", stories.path, "--reference-model", stories.path, "-t", f"preference={folder / 'pairs.jsonl'}"),
        *("--bits", 8, "--json"),
    )
    scores = {each["metric"]: each["value"] for each in json.loads(done.stdout)["scores"]}
    assert scores["accuracy"] == 1.0 and scores["margin"] != 0.0
    assert json.loads(done.stdout)["model"]["quantization"] in (8, None)


def test_kinds_of_tasks_are_listed():
    assert "choice: Multiple choice" in ask("tasks").stdout
    listed = json.loads(ask("tasks", "--json").stdout)
    assert listed["forgetting"]["reference"] == "needed"
    assert listed["perplexity"]["settings"]["data"]["default"] == "required"
    assert all(each["help"] for kind in listed.values() for each in kind["settings"].values())


BAD = [
    (["-t", "choice"], "LM-E501", "give KIND=PATH"),
    (["-t", "chioce=mc.jsonl"], "LM-E500", "did you mean 'choice'"),
    ([], "LM-E503", "there is no task"),
    (["-t", "forgetting=mc.jsonl"], "LM-E501", "needs `old_data` as well; write a table [[task]] into a file"),
    (["-t", "choice=mc.jsonl", "--reference-model", "x"], "LM-E504", "none of the tasks uses --reference-model"),
    (["-t", "choice=mc.jsonl", "--bits", "7"], "LM-E106", "`--bits` must be"),
    (["-t", "choice=mc.jsonl", "-o", "x.json", "--items", "x.json"], "LM-E501", "the same file"),
    (["-t", "choice=mc.jsonl", "-o", "x.json", "--items", "new/../x.json"], "LM-E501", "the same file"),
    (["-t", "choice=mc.jsonl", "-o", "mc.jsonl"], "LP-E010", "is an input"),
    (["-t", "choice=nix.jsonl"], "LM-E503", "nix.jsonl does not exist"),
    (["-t", "choice=story.txt"], "LM-E502", "story.txt:1: no form of multiple choice"),
    (["-t", "perplexity=mc.jsonl"], "LT-E310", "mc.jsonl:1"),
    (["-t", "preference=story.txt"], "LM-E502", "no pair of answers"),
    (["--tasks", "thresholds.toml"], "LM-E501", "no list of tasks"),
    (["--tasks", "story.txt"], "LP-E003", "story.txt"),
]


@pytest.mark.parametrize(("words", "code", "message"), BAD)
def test_bad_input_is_one_line_with_a_code(stories, folder, monkeypatch, words, code, message):
    monkeypatch.chdir(folder)
    error = refused("run", "-m", stories.path, *words)
    assert error.code == code and message in error.message and error.exit_code == 2, error.message


def test_the_app_of_evaluation_is_mounted():
    from lazarus_models.cli.evaluating import eval_app

    assert isinstance(eval_app, App) and {
        each.name or each.callback.__name__ for each in eval_app.registered_commands
    } == {
        "run",
        "compare",
        "report",
        "tasks",
    }
