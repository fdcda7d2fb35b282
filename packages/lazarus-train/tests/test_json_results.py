"""Results of training commands as JSON: for programs that read them."""

import json
import sys

import pytest

import commands
from lazarus_train.tune.measure import Measured
from lazarus_train.tune.search import Sweep, Trial

RESULT = {
    *("output", "final", "steps", "plan_steps", "first_step", "first_loss", "last_loss", "tokens", "seconds"),
    *("tokens_per_s", "audit_head", "data_head"),
}


def lazarus_train(*words: object):
    return commands.run([sys.executable, "-m", "lazarus_train", *map(str, words)])


@pytest.mark.slow
def test_a_run_ends_with_its_figures_as_an_object_and_says_nothing_else_if_quiet(setup):
    run = setup.folder / "run"
    words = ["sft", "--model", setup.model, "--data", setup.data, "--batch-plan", setup.plan, "-o", run]
    done = lazarus_train(*words, "--max-steps", 2, "--json", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    steps = [each for each in steps if "loss" in each]
    assert found.keys() == RESULT
    assert (found["output"], found["final"]) == (str(run), str(run / "final"))
    assert (found["steps"], found["first_step"]) == (2, 1)
    assert [found["first_loss"], found["last_loss"]] == pytest.approx([each["loss"] for each in steps])
    assert found["tokens"] > 0 < found["seconds"]
    second = json.loads((run / "throughput.jsonl").read_text("utf-8").splitlines()[1])
    # The first step is a warm-up; the second one alone gives the speed.
    assert found["tokens_per_s"] == pytest.approx(steps[1]["tokens"] / second["seconds"], rel=0.01)
    again = json.loads(lazarus_train(*words, "--max-steps", 2, "--json").stdout)
    assert (again["first_loss"], again["last_loss"], again["tokens"], again["tokens_per_s"]) == (None, None, 0, None)
    assert again["audit_head"] == found["audit_head"]


def test_json_has_no_effect_on_printed_settings(setup):
    done = lazarus_train("sft", "--print-config", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--json has no effect with --print-config" in done.stderr


@pytest.mark.parametrize("speeds", [(10.0, 30.0), (None, None)])
def test_a_sweep_ends_with_its_trials_and_the_fastest(setup, tmp_path, speeds):
    sweep = Sweep(model=setup.model, row_lens=(64,), max_rows=2)
    (first,) = sweep.kinds()
    trials = []
    for rows, speed in zip((1, 2), speeds, strict=True):
        measured = None if speed is None else Measured(tokens_per_s=speed, step_seconds=1.0, peak_bytes=1)
        outcome = "fits" if measured else "out of memory"
        trials.append(Trial(setup=first.model_copy(update={"rows": rows}), outcome=outcome, measured=measured))
    (tmp_path / "trials.jsonl").write_text("".join(each.model_dump_json() + "\n" for each in trials))
    done = lazarus_train("sweep", "--model", setup.model, "--row-len", 64, "--max-rows", 2, "-o", tmp_path, "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"]) == ((0, True) if speeds[0] else (1, False)), done.stderr
    assert found["output"] == str(tmp_path)
    assert [each["outcome"] for each in found["trials"]] == (["fits", "fits"] if speeds[0] else ["out of memory"])
    assert (found["fastest"] or {}).get("setup", {}).get("rows") == (2 if speeds[0] else None)
