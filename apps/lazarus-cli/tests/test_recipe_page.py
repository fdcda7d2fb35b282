"""The page of a recipe: what its folder says, and no more."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import commands
from lazarus_cli.recipes import RecipeFolder, StageRecord, load_recipe, recipe_page, run_recipe
from lazarus_cli.recipes.errors import RecipeError
from lazarus_cli.recipes.page import stages_of
from small_recipe import SMALL_RECIPE

LAZARUS = [sys.executable, "-m", "lazarus_cli"]
RECIPE = (
    SMALL_RECIPE
    + """
[pretrain]
model = "model"
plan = "plan"
eval_data = { docs = "docs" }
eval_every = 1
sample_prompts = ["word1"]
max_steps = 3
[more]
type = "pretrain"
model = "pretrain"
plan = "plan"
max_steps = 2
[answer]
model = "more"
prompts = ["1+1 is?"]
max_new_tokens = 4
"""
)
SCORES = {
    "scores": [
        {"task": "arc", "metric": "acc", "value": 0.4625, "low": 0.41, "high": 0.51, "baseline": 0.25, "count": 1172},
        {"task": "text", "metric": "perplexity", "value": 12.5, "low": None, "high": None, "baseline": 300, "count": 9},
    ]
}


def record(name, reads=(), **more) -> StageRecord:
    members = {
        "name": name,
        "type": "toy",
        "fingerprint": f"sha256:{name:0<64}",
        "parts": {"inputs": {str(number): f"made-{each}" for number, each in enumerate(reads)}, "versions": {"a": "1"}},
        "outputs": {"": f"made-{name}"},
        "files": {},
        "summary": f"summary of {name}",
        "seconds": 12.0,
        **more,
    }
    return StageRecord(**members)


def folder_of(path: Path, *records: StageRecord) -> RecipeFolder:
    folder = RecipeFolder(path)
    with folder.held():
        for each in records:
            folder.finish(each)
            folder.stage(each.name).mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a recipe that has run; its page is read only."""
    path = tmp_path_factory.mktemp("page")
    rows = [{"text": " ".join(f"word{number * each % 17}, 1+1 is?" for each in range(9))} for number in range(12)]
    (path / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (path / "recipe.toml").write_text(RECIPE, "utf-8")
    recipe = load_recipe(str(path / "recipe.toml"))
    run_recipe(recipe, RecipeFolder(path / "made"))
    return path / "made"


@pytest.mark.slow
def test_the_page_of_a_recipe_has_all_its_parts(done):
    found = recipe_page(done)
    stages = [each.name for each in stages_of(RecipeFolder(done))]
    assert sorted(stages) == sorted(each.stem for each in (done / ".lazarus").glob("*.json") if each.stem != "digests")
    assert stages.index("tokenizer") < stages.index("pretrain") < stages.index("more") < stages.index("answer")
    for name in stages:
        assert found.count(f"<td>{name}</td>") >= 2, "in the table of stages and in the lock"
    for title in (
        "Loss of pretrain",
        "Loss of more",
        "Held-out loss of docs, pretrain",
        "Answers of pretrain",
        "Answers of answer",
        "Lock",
    ):
        assert f">{title}<" in found
    lines = [json.loads(line) for line in (done / "stages/pretrain/metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert f"{losses[0]:.4f} → {losses[-1]:.4f}" in found
    answer = json.loads((done / "stages/answer/answers.jsonl").read_text().splitlines()[0])
    assert answer["prompt"] in found
    assert ">epochs<" in found
    assert recipe_page(done) == found, "the same bytes each time"


@pytest.mark.slow
def test_epochs_are_tokens_by_the_tokens_of_a_pass(done):
    from lazarus_plan import load_plan
    from lazarus_train.run_dir import part_of

    plan = load_plan(done / "stages/plan")
    tokens = sum(plan.step(number).tokens for number in range(3))
    everything = sum(plan.step(number).tokens for number in range(len(plan)))
    assert part_of(done / "stages/pretrain", "x").figures["epochs"] == f"{tokens / everything:.2f}"
    copy = done.parent / "copy"
    shutil.copytree(done / "stages/pretrain", copy)
    about = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**about, "config": {**about["config"], "batch_plan": "gone"}}))
    assert part_of(copy, "x").figures["epochs"] == "unknown"


def test_scores_of_reports_are_in_one_table(tmp_path):
    folder = folder_of(tmp_path / "r", record("eval"), record("other"))
    (folder.stage("eval") / "report.json").write_text(json.dumps(SCORES))
    (folder.stage("other") / "odd.json").write_text('{"scores": [{"task": "x"}]}')
    (folder.stage("other") / "broken.json").write_text('{"scores": ')
    (folder.stage("other") / "list.json").write_text("[1]")
    found = recipe_page(folder.path)
    assert ">0.4625<" in found
    assert ">0.41 to 0.51<" in found
    assert ">0.25<" in found
    assert ">1,172<" in found
    assert ">perplexity<" in found
    assert ">12.5<" in found
    assert ">x<" not in found


@given(st.permutations("abcdef"), st.data())
def test_stages_follow_those_whose_output_they_read(tmp_path_factory, names, data):
    records = []
    for place, name in enumerate(names):
        reads = data.draw(st.sets(st.sampled_from(names[:place]))) if place else ()
        records.append(record(name, sorted(reads)))
    shuffled = data.draw(st.permutations(records))
    folder = folder_of(tmp_path_factory.mktemp("order") / "r", *shuffled)
    order = [each.name for each in stages_of(folder)]
    assert sorted(order) == sorted(names)
    for each in records:
        for digest in each.parts["inputs"].values():
            assert order.index(digest.removeprefix("made-")) < order.index(each.name)


def test_equal_outputs_that_look_like_a_circle_are_listed_once(tmp_path):
    same = {"outputs": {"": "made-a"}}
    folder = folder_of(tmp_path / "r", record("a", ["b"]), record("b", ["a"]), record("c", ["c"], **same))
    assert sorted(each.name for each in stages_of(folder)) == ["a", "b", "c"]


def test_a_stage_that_has_not_ended_is_named_and_names_are_escaped(tmp_path):
    folder = folder_of(tmp_path / "<r>", record("first", summary="<script>alert(1)</script>"))
    (folder.path / ".lazarus/pretrain.begun").write_text("sha256:x\n")
    found = recipe_page(folder.path)
    assert "<script>alert" not in found
    assert "&lt;script&gt;alert(1)" in found
    assert "1 of 2 finished" in found
    assert "<td>pretrain</td><td></td><td>not finished</td>" in found


@pytest.mark.parametrize("place", ["nowhere", "file", "empty", "begun"])
def test_other_folders_are_refused_in_one_line(tmp_path, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun/.lazarus").mkdir(parents=True)
    with pytest.raises(RecipeError, match=r"(give the folder of `lazarus run`|no stage has begun yet)") as caught:
        recipe_page(tmp_path / place)
    assert caught.value.code == "LC-E250"


def test_the_command_writes_the_page_and_replaces_only_a_page(tmp_path):
    folder_of(tmp_path / "r", record("one"))
    words = [*LAZARUS, "report", "r", "-o", "page.html"]
    done = commands.run(words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "wrote page.html" in done.stderr
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "<h1>Recipe r</h1>" in page
    assert commands.run(words, cwd=tmp_path).returncode == 0
    (tmp_path / "page.html").write_text("mine")
    assert commands.run(words, cwd=tmp_path).returncode == 2
    assert (tmp_path / "page.html").read_text() == "mine"
    found = json.loads(commands.run([*LAZARUS, "report", "r", "--json"], cwd=tmp_path).stdout)
    assert found["stages"] == [
        {"name": "one", "is_finished": True, "type": "toy", "seconds": 12.0, "summary": "summary of one"}
    ]
