"""Which checkpoints stay, what the links point to, and the command that lists them."""

import json

import pytest
from typer.testing import CliRunner

from lazarus_train import train, verify_run
from lazarus_train.cli.app import app
from lazarus_train.errors import SetupError
from lazarus_train.run_dir.inventory import list_checkpoints
from lazarus_train.run_dir.retention import best_checkpoint, tidy


@pytest.fixture
def folder(tmp_path):
    for step in (2, 4, 6, 8):
        (tmp_path / f"step-{step:07d}").mkdir()
    return tmp_path


def measured(**losses):
    return {int(step[1:]): loss for step, loss in losses.items()}


def left(folder):
    return sorted(int(path.name[5:]) for path in folder.iterdir() if not path.is_symlink())


def test_the_newest_stay_and_the_best(folder):
    tidy(folder, measured(s0=0.5, s2=3.0, s4=1.0, s6=2.0, s8=1.5), keep=1)
    assert left(folder) == [4, 8]
    assert (folder / "latest").resolve().name == "step-0000008"
    assert (folder / "best").resolve().name == "step-0000004"


def test_all_stay_where_nothing_is_said_and_none_is_best_where_none_was_measured(folder):
    tidy(folder, {}, keep=None)
    assert left(folder) == [2, 4, 6, 8]
    assert not (folder / "best").exists()
    assert best_checkpoint(folder, measured(s5=0.1)) is None


def test_of_equals_the_earliest_is_best(folder):
    assert best_checkpoint(folder, measured(s4=1.0, s6=1.0)).name == "step-0000004"


def test_a_link_moves_on_and_goes_when_nothing_is_best(folder):
    tidy(folder, measured(s4=1.0), keep=None)
    tidy(folder, measured(s4=1.0, s6=0.5), keep=None)
    assert (folder / "best").resolve().name == "step-0000006"
    tidy(folder, {}, keep=None)
    assert not (folder / "best").is_symlink()


def test_a_run_keeps_what_it_was_asked_to_and_resumes_from_a_link(setup):
    settings = {"keep_checkpoints": 1, "eval_data": {"held-out": setup.data}, "eval_every": 2}
    train(setup.config(max_steps=8, **settings))
    kept = setup.folder / "run/checkpoints"
    lines = [json.loads(line) for line in (setup.folder / "run/metrics.jsonl").read_text().splitlines()]
    best = min((line for line in lines if "eval_loss" in line and line["step"]), key=lambda line: line["eval_loss"])
    assert left(kept) == sorted({best["step"], 8})
    assert train(setup.config(**settings), resume=str(kept / "latest")).steps > 8
    assert next(verify_run(setup.folder / "run/checkpoints/latest")).name == "checkpoint"


def test_the_command_lists_and_finds_damage(setup):
    train(setup.config(max_steps=4, eval_data={"held-out": setup.data}))
    first, last = list_checkpoints(setup.folder / "run")
    assert (first.step, first.damage, first.names) == (2, None, ())
    assert last.names == ("latest", "best")
    assert last.bytes > first.bytes * 0.9 > 1000
    result = CliRunner().invoke(app, ["checkpoints", str(setup.folder / "run")])
    assert result.exit_code == 0
    assert "step-0000004" in result.output
    (setup.folder / "run/checkpoints/step-0000002/model.safetensors").unlink()
    result = CliRunner().invoke(app, ["checkpoints", str(setup.folder / "run"), "--json"])
    assert result.exit_code == 1
    assert [each["damage"] for each in json.loads(result.output)] == ["model.safetensors is missing", None]


def test_a_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(SetupError, match="has no checkpoints"):
        list_checkpoints(tmp_path)
