import json
from pathlib import Path

import pytest

from lazarus_plan import PlanConfig, build_plan, load_plan, read_lengths, verify_plan
from lazarus_plan.checks.sampled import Recipe
from lazarus_plan.errors import StalePlan
from lazarus_tokenkit import Encoder, FieldNames, build_lengths, load_tokenizer
from lazarus_tokenkit.lengths.plan_hook import measure_rows

FIELDS = {"prompt": "q", "completion": "a"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"q": f"{n}+{n}=", "a": str(2 * n)}) + "\n" for n in range(90, 120)), "utf-8")
    return path


@pytest.fixture
def recipe(data: Path) -> Recipe:
    return Recipe([data], "byte", FIELDS)


@pytest.fixture
def plan(data: Path, tmp_path: Path) -> Path:
    encoder = Encoder(load_tokenizer("byte"), "chatml")
    build_lengths(data, encoder, tmp_path / "lengths.jsonl", FieldNames(**FIELDS))
    build_plan(read_lengths(tmp_path / "lengths.jsonl"), PlanConfig(token_budget=192), tmp_path / "plan")
    return tmp_path / "plan"


def test_rows_measured_again_are_the_lines_of_the_cache(plan: Path, recipe: Recipe):
    lines = (plan.parent / "lengths.jsonl").read_bytes().splitlines(keepends=True)
    encoding = json.loads(lines[0])["encoding"]
    assert [row.line() for row in measure_rows(recipe, encoding, [0, 7, 29])] == [lines[1], lines[8], lines[30]]
    assert len(list(measure_rows(recipe, encoding, [29, 30]))) == 1


def test_verify_encodes_a_sample_of_each_parsed_step_again(plan: Path, recipe: Recipe):
    *_, said = verify_plan(plan, sample=5, recipe=recipe)
    assert said == "samples: 5 encoded again, lengths and the first 32 bits of rows and token ids as planned"


def test_data_and_tokenizer_are_checked_at_once_without_a_number_of_steps(plan: Path, recipe: Recipe):
    found = list(verify_plan(plan, data=recipe.data, recipe=recipe))
    assert "data: SHA-256 of 1 file recomputed, as planned" in found
    steps = len(load_plan(plan))
    assert f"samples: {steps} encoded again, lengths and the first 32 bits of rows and token ids as planned" in found
    with pytest.raises(StalePlan) as caught:
        list(verify_plan(plan, data=recipe.data, recipe=recipe._replace(template="plain")))
    assert caught.value.code == "LP-E130"


def test_lengths_of_an_older_encoding_are_refused_before_rows_are_read(recipe: Recipe):
    with pytest.raises(
        StalePlan, match="`encode_version` 1, this lazarus-tokenkit has version 2: build lengths and plan again"
    ):
        next(measure_rows(recipe._replace(data=[Path("missing")]), {"encode_version": 1}, [0]))


@pytest.mark.parametrize("code", ["LP-E140", "LP-E141"])
def test_changed_data_are_found_in_a_sample(plan: Path, recipe: Recipe, code: str):
    rows = recipe.data[0].read_text("utf-8")
    recipe.data[0].write_text(rows.replace("=", "?") if code == "LP-E140" else rows.splitlines()[0], "utf-8")
    with pytest.raises(StalePlan) as caught:
        list(verify_plan(plan, sample=1000, recipe=recipe))
    assert caught.value.code == code


@pytest.mark.parametrize("tokenizer", ["byte", "char:+=0123456789"])
def test_another_template_is_found_in_a_sample(plan: Path, recipe: Recipe, tokenizer: str):
    with pytest.raises(StalePlan) as caught:
        list(verify_plan(plan, sample=3, recipe=recipe._replace(tokenizer=tokenizer, template="plain")))
    assert caught.value.code == "LP-E130"
