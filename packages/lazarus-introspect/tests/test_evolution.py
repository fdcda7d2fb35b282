"""A number over checkpoints: the largest change, its null, and folders that are no run. `tests/test_evolution.py` trains one."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lazarus_core.console import run
from lazarus_introspect import run_with_hooks
from lazarus_introspect.cli.app import app
from lazarus_introspect.evolution import Metric, evolve, largest_jump
from lazarus_models import init_model, load, save
from lazarus_tokenkit import load_tokenizer

gaps = st.lists(st.integers(1, 9), min_size=5, max_size=20)


@settings(max_examples=20)
@given(gaps, st.data())
def test_a_planted_jump_is_found_with_its_size(lengths, data):
    steps = [0, *np.cumsum(lengths).tolist()]
    place = data.draw(st.integers(0, len(lengths) - 1))
    rates = np.full(len(lengths), -0.01) + np.random.default_rng(len(lengths)).normal(size=len(lengths)) * 1e-3
    rates[place] = 1.0
    values = np.concatenate([[3.0], 3.0 + np.cumsum(rates * lengths)]).tolist()
    found = largest_jump(steps, values)
    assert (found.first_step, found.last_step) == (steps[place], steps[place + 1])
    assert found.change == pytest.approx(lengths[place]) and found.ratio > 50 and found.p < 0.02
    assert found.before == values[place] and found.after == values[place + 1]


def test_random_changes_are_significant_at_the_stated_rate():
    """Of 120 series without a jump, p < 0.05 in about 6: more than 15 has a chance below 0.1 %."""
    rng = np.random.default_rng(3)
    steps = list(range(0, 110, 10))
    found = [largest_jump(steps, np.cumsum(rng.normal(size=11)).tolist(), seed=place) for place in range(120)]
    assert 1 <= sum(each.p < 0.05 for each in found) <= 15


def test_few_or_equal_changes_have_no_p_value():
    assert largest_jump([0, 1, 2], [0.0, 1.0, 5.0]).p is None
    flat = largest_jump(list(range(8)), [1.0] * 8)
    assert flat.p is None and flat.ratio is None and flat.change == 0


@pytest.fixture(scope="module")
def forged(tmp_path_factory):
    """A run's folder with checkpoints at steps 2 to 8; the weights change between 4 and 6, and stay elsewhere."""
    folder = tmp_path_factory.mktemp("runs") / "forged"
    models = [init_model("nano", load_tokenizer("byte"), seed=seed) for seed in (0, 1)]
    for step in range(2, 10, 2):
        save(models[step >= 6], folder / f"checkpoints/step-{step:07d}")
    save(models[0], folder / "initial")
    record = {"config": {"model": "nowhere", "batch_plan": "nix"}, "folder": str(folder)}
    (folder / "config.json").write_text(json.dumps(record), "utf-8")
    return folder


def test_every_metric_is_that_of_the_models(forged):
    text, ids = "ab", [257, 97, 98]
    first, last = (load(forged / name) for name in ("initial", "checkpoints/step-0000008"))
    logs = [np.array(run_with_hooks(lm, [ids])[0]).astype(np.float64) for lm in (first, last)]
    logs = [each - np.log(np.exp(each).sum(axis=1, keepdims=True)) for each in logs]
    expected = {
        "loss": [-(each[0, 97] + each[1, 98]) / 2 for each in logs],
        "probability": [np.exp(each[2, 99]) for each in logs],
        "rank": [1 + (each[2] > each[2, 99]).sum() for each in logs],
        "difference": [each[2, 99] - each[2, 100] for each in logs],
    }
    for name, (before, after) in expected.items():
        positive = {} if name == "loss" else {"positive": "c"}
        negative = {"negative": "d"} if name == "difference" else {}
        found = evolve(forged, Metric(name=name, prompt=text, **positive, **negative))
        assert [each.step for each in found.checkpoints] == [0, 2, 4, 6, 8]
        values = [each.value for each in found.checkpoints]
        assert np.allclose(values, [before] * 3 + [after] * 2, rtol=1e-5), name
        assert (found.jump.first_step, found.jump.last_step) == (4, 6) and found.jump.ratio is None
        assert found.ids == tuple(ids) and "`plan`" in found.rows_absent and found.rows is None
        assert len({each.weights for each in found.checkpoints}) == 2


def test_a_head_is_followed(forged):
    found = evolve(forged, Metric(name="head", head=(1, 0), kind="previous"))
    values = [each.value for each in found.checkpoints]
    assert values[0] == values[2] != values[3] == values[4] and found.ids == ()
    assert found.title == "Evolution of forged" and "layer 1 head 0" in found.about()["Metric"]


@pytest.mark.thorough
def test_a_page_has_the_values_and_the_result_replays(forged, tmp_path, capsys):
    page = tmp_path / "a.html"
    words = [str(forged), "--metric", "rank", "-p", "ab", "--positive", "c", "--raw"]

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            run(lambda **options: app([*words], **options), "lazarus-introspect")
        shown = capsys.readouterr()
        return ended.value.code, shown.out, shown.err

    _, shown, _ = call("evolve", *words, "--json", "--html", str(page))
    found = json.loads(shown)
    points = ";".join(f"{each['step']},{each['value']:.6g}" for each in found["checkpoints"])
    assert points in page.read_text("utf-8")
    (tmp_path / "r.json").write_text(shown, "utf-8")
    assert call("replay", str(tmp_path / "r.json"))[0] == 0
    code, shown, said = call("evolve", *words)
    assert code == 0 and "*: the interval of the largest change" in shown and said.startswith("warning: no rows: ")


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "loss"},
        {"name": "loss", "prompt": "a", "positive": "b"},
        {"name": "difference", "prompt": "a", "positive": "b"},
        {"name": "head", "prompt": "a", "head": (0, 0)},
        {"name": "head"},
    ],
    ids=range(5),
)
def test_a_metric_has_what_it_needs_and_no_more(fields):
    with pytest.raises(ValidationError, match=r"the metric .* `"):
        Metric(**fields)


def test_bad_folders_and_options_are_one_line(forged, tmp_path, capsys):
    one = tmp_path / "one"
    (one / "checkpoints/step-0000001").mkdir(parents=True)
    record = {"config": {"model": "nowhere", "batch_plan": None}, "folder": "/"}
    (one / "config.json").write_text(json.dumps(record), "utf-8")
    broken = tmp_path / "broken"
    (broken / "checkpoints").mkdir(parents=True)
    (broken / "config.json").write_text('{"config": 3}', "utf-8")
    adapter = tmp_path / "adapter"
    for step in (1, 2):
        (adapter / f"checkpoints/step-{step:07d}").mkdir(parents=True)
        (adapter / f"checkpoints/step-{step:07d}/adapter_config.json").write_text("{}", "utf-8")
    (adapter / "config.json").write_text(json.dumps(record), "utf-8")
    for words, reason in (
        ([tmp_path, "-p", "a"], "is no folder of a training run"),
        ([one, "-p", "a"], "has 1 checkpoint(s)"),
        ([broken, "-p", "a"], "is no record of a training run"),
        ([adapter, "-p", "a"], "give its place as --model"),
        ([forged], "the metric loss needs --prompt"),
        ([forged, "--metric", "head", "--head", "1"], "give layer and head with a dot"),
        ([forged, "--metric", "head", "--head", "1.7"], "has no head 7"),
        ([forged, "-p", "", "--raw"], "a loss needs a prompt of two tokens"),
    ):
        with pytest.raises(SystemExit) as ended:
            run(lambda words=words, **options: app(["evolve", *map(str, words)], **options), "lazarus-introspect")
        shown = capsys.readouterr()
        assert (ended.value.code, shown.out, shown.err.count("\n")) == (2, "", 1), shown.err
        assert reason in shown.err
