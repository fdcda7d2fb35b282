import fcntl
import json
import shlex
import shutil
from pathlib import Path

import pytest

from lazarus_cli.operations.status import COMMAND_OF
from lazarus_train.cli.training_commands import COMMANDS

TRAIN = ("train", "sft", "--config", "run/config.json", "--set", "max_steps=4")


def of_kind(out: str, kind: str) -> list[dict]:
    return [each for each in json.loads(out)["artifacts"] if each["kind"] == kind]


def test_every_artifact_of_a_folder_is_listed_with_its_progress(world: Path, lazarus):
    code, out, _ = lazarus("status", world, "--json")
    assert code == 0
    assert sorted(each["kind"] for each in json.loads(out)["artifacts"]) == ["model", "plan", "run"]
    [run] = of_kind(out, "run")
    lines = [json.loads(line) for line in (world / "run/metrics.jsonl").read_text("utf-8").splitlines()]
    last = [line for line in lines if "loss" in line][-1]
    held_out = [line for line in lines if "eval_set" in line][-1]
    progress = run["run"]
    assert (progress["step"], progress["steps"], progress["checkpoint"]) == (4, 4, 4)
    assert (progress["loss"], progress["eval_loss"]) == (last["loss"], held_out["eval_loss"])
    assert (progress["objective"], progress["stage"], run["resume"]) == ("causal", "finished", None)
    assert run["bytes"] == sum(
        path.stat().st_size for path in (world / "run").rglob("*") if path.is_file() and not path.is_symlink()
    )
    (world / "link").symlink_to("run")
    assert of_kind(lazarus("status", "link", "--json")[1], "run")[0]["bytes"] == run["bytes"]


@pytest.mark.slow
def test_the_printed_command_resumes_a_run_also_where_it_was_moved(world: Path, lazarus):
    lines = (world / "run/audit.jsonl").read_bytes().splitlines(keepends=True)
    (world / "run/audit.jsonl").write_bytes(b"".join(line for line in lines if b'"final"' not in line))
    shutil.rmtree(world / "run/final")
    (world / "else where").mkdir()
    (world / "run").rename(world / "else where/run")
    code, out, _ = lazarus("status", "--json")
    [run] = of_kind(out, "run")
    assert (code, run["run"]["stage"]) == (0, "stopped")
    before = (world / "else where/run/checkpoints/step-0000004/manifest.json").read_bytes()
    assert lazarus(*shlex.split(run["resume"])[1:])[0] == 0
    assert (world / "else where/run/final/model.safetensors").is_file() and not (world / "run").exists()
    assert (world / "else where/run/checkpoints/step-0000004/manifest.json").read_bytes() == before
    assert of_kind(lazarus("status", "--json")[1], "run")[0]["run"]["stage"] == "finished"


def test_a_run_is_running_while_its_lock_is_held(world: Path, lazarus):
    with (world / "run/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert of_kind(lazarus("status", "run", "--json")[1], "run")[0]["run"]["stage"] == "running"
    assert of_kind(lazarus("status", "run", "--json")[1], "run")[0]["run"]["stage"] == "finished"


@pytest.mark.parametrize("damage", ["state.json", "manifest.json", "config.json", "audit"])
def test_damage_of_the_newest_checkpoint_is_found_and_exits_1(world: Path, lazarus, damage: str):
    if damage == "audit":
        lines = (world / "run/audit.jsonl").read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if not (b'"step":4' in line and b'"checkpoint"' in line)]
        assert len(kept) == len(lines) - 1
        (world / "run/audit.jsonl").write_bytes(b"".join(kept))
    else:
        file = world / "run/checkpoints/step-0000004" / damage
        file.write_bytes(file.read_bytes().replace(b"a", b"b", 1))
    code, out, _ = lazarus("status", "run")
    assert code == 1 and "problem: run: " in out and "damaged" in out


def test_a_missing_shard_of_weights_is_found(world: Path, lazarus):
    (world / "model/model.safetensors").unlink()
    code, out, _ = lazarus("status", "model")
    assert code == 1 and "no weights" in out


def test_watching_ends_when_nothing_trains(world: Path, lazarus):
    code, out, _ = lazarus("status", "run", "--watch", "--json")
    assert code == 0 and len(out.splitlines()) == 1


def test_a_half_written_line_is_no_step(world: Path, lazarus):
    with (world / "run/metrics.jsonl").open("a") as log:
        log.write('{"step":5,"loss":')
    assert of_kind(lazarus("status", "run", "--json")[1], "run")[0]["run"]["step"] == 4


def test_every_objective_has_its_command():
    assert {kind: words.split()[0] for kind, words in COMMAND_OF.items()} == {
        kind: command.name
        for command in reversed(COMMANDS)
        for kind in command.kinds
        if command.name != "pretrain" or kind == "mntp"
    }


def test_what_is_no_folder_is_refused(world: Path, lazarus):
    for path in ("nix", "data.jsonl"):
        code, _, err = lazarus("status", path)
        assert code == 2 and "LC-E270" in err and len(err.splitlines()) == 1


def test_a_recipe_shows_its_finished_stages_and_whether_it_runs(world: Path, lazarus):
    (world / "recipe/.lazarus").mkdir(parents=True)
    for name in ("corpus.json", "plan.json", "digests.json", "pretrain.begun"):
        (world / "recipe/.lazarus" / name).write_text("{}")
    with (world / "recipe/.lazarus/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        [recipe] = of_kind(lazarus("status", "recipe", "--json")[1], "recipe")
        assert recipe["content"] == "running, 2 stages done"
    (world / "recipe/lazarus.lock").write_text("{}")
    [recipe] = of_kind(lazarus("status", "recipe", "--json")[1], "recipe")
    assert (recipe["content"], recipe["problem"]) == ("2 stages done", None)
