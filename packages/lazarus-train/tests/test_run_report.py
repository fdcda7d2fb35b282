"""The page of `report`, read as text and opened in a real browser where there is one."""

import json
import re
import shutil
import subprocess

import pytest

from html_pages import ATTACKS, Read
from lazarus_core import command_names
from lazarus_train import OptimizerSettings, train
from lazarus_train.errors import SetupError
from lazarus_train.run_dir.report import as_json, report_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory, make_setup):
    setup = make_setup(tmp_path_factory.mktemp("report"))
    for name, rate in (("slow", 1e-3), ("fast", 5e-3)):
        settings = {
            "optimizer": OptimizerSettings(learning_rate=rate),
            "eval_data": {"held-out": setup.data, "same": setup.data},
            "eval_every": 2,
            "sample_prompts": ("1 & 2?",),
        }
        train(setup.config(name, max_steps=6, **settings))
    return setup


def rows_block(html: str, number: int) -> dict:
    found = re.search(rf'<script type="application/json" id="rows{number}">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_every_run_is_drawn_in_every_chart_and_what_differs_is_named(runs):
    html = report_runs([runs.folder / "slow", runs.folder / "fast"])
    assert html.count('class="curve path0"') == html.count('class="curve path1"') == 7
    differences = html[html.index("<h2>Differences") : html.index("<details>")]
    assert re.findall(r"<tr><td>([^<]*)</td>", differences) == ["optimizer.learning_rate"]


def test_of_one_run_the_settings_that_differ_from_their_defaults_are_listed_first(runs):
    html = report_runs([runs.folder / "slow"])
    settings = html[html.index("<h2>Settings") : html.index("<h2>Answers")]
    listed, closed = settings.split("<details>", 1)
    names = re.findall(r"<dt>([^<]*)</dt>", listed)
    assert {"model", "data", "max_steps", "optimizer.learning_rate", "eval_data.same"} <= set(names)
    assert not {"seed", "freeze", "optimizer.beta1", "lora"} & set(names)
    assert {"seed", "freeze", "optimizer.beta1", "lora"} <= set(re.findall(r"<dt>([^<]*)</dt>", closed))
    assert "<dd>held" not in listed and "[" not in re.sub("<[^>]*>", "", settings), "no lists of Python"


def test_the_title_names_the_runs_and_the_command_is_in_the_footer(runs):
    from datetime import UTC, datetime

    from lazarus_core.html import Origin

    origin = Origin("lazarus train report 'a <b>'", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    html = report_runs([runs.folder / "slow", runs.folder / "fast"], origin)
    assert "<title>Training runs slow and fast</title>" in html
    assert "lazarus train report &#x27;a &lt;b&gt;&#x27;" in html and "2026-01-02 03:04:05 UTC" in html
    assert report_runs([runs.folder / "slow"]) == report_runs([runs.folder / "slow"]), "no clock without an origin"


def test_runs_of_one_name_are_told_apart(runs, tmp_path):
    shutil.copytree(runs.folder / "slow", tmp_path / "slow")
    html = report_runs([runs.folder / "slow", tmp_path / "slow"])
    assert f"{runs.folder}/slow and {tmp_path}/slow</title>" in html


def test_the_points_of_a_curve_are_the_metrics(runs):
    html = report_runs([runs.folder / "slow"])
    points = re.search(r'data-points="([^"]*)"', html[html.index("<h2>Loss") :])
    assert points is not None
    lines = [json.loads(line) for line in (runs.folder / "slow/metrics.jsonl").read_text().splitlines()]
    losses = [f"{line['step']},{line['loss']:.6g}" for line in lines if "loss" in line]
    assert points[1].split(";") == losses


def test_the_rows_behind_a_step_are_those_it_was_trained_on(runs):
    from lazarus_plan import load_plan

    content = rows_block(report_runs([runs.folder / "slow"]), 0)
    plan = load_plan(runs.plan)
    assert sorted(each["step"] for each in content["steps"]) == [1, 2, 3, 4, 5, 6]
    for each in content["steps"]:
        assert each["samples"] == list(plan.step(each["step"] - 1).samples)
    rows = [json.loads(line) for line in runs.data.read_text().splitlines()]
    for sample, text in content["texts"].items():
        assert rows[int(sample)]["completion"] in text


def test_of_a_long_run_the_steps_that_stand_out_are_carried(runs, monkeypatch):
    from lazarus_train.run_dir import report as run_report

    monkeypatch.setattr(run_report, "MAX_TEXT", 600 * 20)
    monkeypatch.setattr(command_names, "_script", "lazarus-train")
    page = report_runs([runs.folder / "slow"])
    assert 0 < len(rows_block(page, 0)["steps"]) < 6
    assert "<code>lazarus-plan explain -p " in page


def test_a_page_says_why_it_has_no_rows(runs, tmp_path):
    shutil.copytree(runs.folder / "slow", tmp_path / "moved")
    record = json.loads((tmp_path / "moved/config.json").read_text())
    record["config"]["data"] = "gone.jsonl"
    (tmp_path / "moved/config.json").write_text(json.dumps(record))
    assert "Not shown:" in report_runs([tmp_path / "moved"])


def test_answers_are_shown(runs):
    html = report_runs([runs.folder / "slow"])
    shown = html[html.index("<h2>Answers of slow") :]
    assert shown.count("<h3>1 &amp; 2?</h3>") == 1
    assert len(re.findall(r'<td class="number">[0246]</td>', shown)) == 4


def test_text_of_the_data_cannot_leave_its_place(setup):
    rows = [json.loads(line) for line in setup.data.read_text().splitlines()]
    rows[0]["prompt"] = "</script><img src=x onerror=alert(1)>"
    setup.write_rows(rows)
    setup.build_plan(row_len=64, token_budget=256)
    train(setup.config())
    html = report_runs([setup.folder / "run"])
    assert "</script><img" not in html
    assert any("</script><img" in text for text in rows_block(html, 0)["texts"].values())


@pytest.mark.parametrize("name", [each for each in ATTACKS if "/" not in each])
def test_no_name_of_a_run_changes_the_structure(runs, tmp_path, name):
    shutil.copytree(runs.folder / "slow", tmp_path / name)
    prompts = (tmp_path / name / "samples.jsonl").read_text()
    (tmp_path / name / "samples.jsonl").write_text(prompts.replace("1 & 2?", json.dumps(name)[1:-1]))
    read, plain = Read(report_runs([tmp_path / name])), Read(report_runs([runs.folder / "slow"]))
    assert read.wrong == []
    assert set(read.shape()) <= set(plain.shape())
    assert name in read.text("title") and name in read.text("h3")


def test_a_loss_is_named_by_what_it_is_a_mean_over(runs, setup):
    pairs = "".join(f'{{"prompt": "{n}", "chosen": "yes", "rejected": "no"}}\n' for n in range(8))
    setup.data.write_text(pairs)
    setup.build_plan(row_len=64, token_budget=256)
    train(setup.config(objective={"kind": "preference", "loss": "orpo"}))
    html = report_runs([runs.folder / "slow", setup.folder / "run"])
    assert html.count('class="up-title">nats a token or a pair<') == 1
    assert html.count('class="up-title">nats a token<') == 2, "of held-out rows that only one was measured on"


def test_how_often_pairs_are_in_order_is_drawn_of_training_and_of_held_out_rows(setup):
    setup.data.write_text("".join(f'{{"prompt": "{n}", "chosen": "yes", "rejected": "no"}}\n' for n in range(8)))
    setup.build_plan(row_len=64, token_budget=256)
    train(setup.config(objective={"kind": "preference", "loss": "orpo"}, eval_data={"held-out": setup.data}))
    html = report_runs([setup.folder / "run"])
    titles = re.findall("<h2>([^<]*)</h2>", html)
    assert [each for each in titles if "accuracy" in each] == ["Reward accuracy", "Reward accuracy of held-out"]


def test_the_command_behind_a_step_counts_as_the_plan_does(runs):
    assert "--step N</code>, where N is the step minus 1, because the plan counts from 0." in report_runs(
        [runs.folder / "slow"]
    )


def test_figures_as_json(runs):
    found = as_json([runs.folder / "fast"])[0]
    assert found["steps"] == 6
    assert found["held_out_losses"].keys() == {"held-out", "same"}
    first, *_, last = found["held_out_losses"]["same"]
    assert last < first


def test_what_is_no_run_is_refused(runs):
    with pytest.raises(SetupError, match="is not the folder of a run"):
        report_runs([runs.model])


@pytest.mark.slow
def test_a_browser_draws_the_curves_and_shows_the_rows_of_the_first_step(runs, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium")
    (tmp_path / "report.html").write_text(report_runs([runs.folder / "slow", runs.folder / "fast"]))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--dump-dom"]
    done = subprocess.run(
        [browser, *options, f"--user-data-dir={tmp_path}/profile", (tmp_path / "report.html").as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    content = rows_block(done.stdout, 1)
    shown = done.stdout[done.stdout.index('id="shown1"') :]
    assert shown.count("<td ") >= 2 * len(content["steps"][0]["samples"])
    assert done.stdout.count("<option") == len(rows_block(done.stdout, 0)["steps"]) + len(content["steps"])
