import fcntl
import json
import shutil
from pathlib import Path

import pytest


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def steps(run: Path) -> list[str]:
    return sorted(path.name[-1] for path in (run / "checkpoints").iterdir() if not path.is_symlink())


def best(run: Path) -> str:
    return (run / "checkpoints/best").readlink().name[-1]


def test_nothing_is_removed_without_yes_and_by_the_runs_own_rule_nothing_is_spare(world: Path, lazarus):
    before = files(world)
    code, out, err = lazarus("cleanup", "run")
    assert (code, out) == (0, "") and "nothing to remove" in err
    code, out, err = lazarus("cleanup", "run", "--keep-checkpoints", "1")
    assert code == 0 and "nothing was removed" in err and len(out.splitlines()) == 3 - (best(world / "run") != "4")
    assert files(world) == before


@pytest.mark.slow
def test_after_a_cleanup_verify_and_resume_give_the_same(world: Path, lazarus):
    """The law: verified the same, and trained on, every file has the same bytes."""
    shutil.copytree(world, world.parent / "other", symlinks=True)
    assert lazarus("cleanup", world, "--keep-checkpoints", "1", "--yes")[0] == 0
    assert steps(world / "run") == sorted({best(world / "run"), "4"})
    code, out, _ = lazarus("verify", "run", "--json")
    assert code == 0 and json.loads(out)["ok"]
    assert files(world / "run/final") == files(world.parent / "other/run/final")
    more = ("train", "sft", "--config", "run/config.json", "--set", "max_steps=5")
    assert lazarus(*more)[0] == 0
    assert (
        lazarus(*more[:3], world.parent / "other/run/config.json", *more[4:], "-o", world.parent / "other/run")[0] == 0
    )
    for name in ("final/model.safetensors", "metrics.jsonl", "checkpoints/step-0000005/optimizer.safetensors"):
        assert (world / "run" / name).read_bytes() == (world.parent / "other/run" / name).read_bytes(), name
    assert lazarus("verify", "run")[0] == 0


def test_what_another_run_a_link_or_a_rebased_plan_uses_stays(world: Path, lazarus):
    spare = ("cleanup", "run", "--keep-checkpoints", "1", "--json")
    assert "1" in steps(world / "run")

    def listed(*more: object) -> set[str]:
        return {Path(each["path"]).name[-1] for each in json.loads(lazarus(*spare, *more)[1])["files"]}

    free = listed()
    assert {"1", "2"} <= free
    (world / "link").symlink_to("run/checkpoints/step-0000001")
    assert listed() == free - {"1"}
    (world / "link").unlink()
    (world / "link").symlink_to("run")
    assert listed() == free, "a link to the run uses none of its parts"
    shutil.copytree(world / "run", world / "child", symlinks=True)
    record = json.loads((world / "child/config.json").read_bytes())
    record["config"]["model"] = "run/checkpoints/step-0000002"
    record["folder"] = str(world)
    (world / "child/config.json").write_text(json.dumps(record, indent=2), "utf-8")
    assert listed() == free - {"2"}
    (world / "elsewhere").mkdir()
    (world / "child").rename(world / "elsewhere/child")
    assert listed() == free - {"2"}
    assert listed("--used-in", world / "model") == free
    shutil.copytree(world / "plan", world / "rebased")
    metadata = json.loads((world / "rebased/metadata.json").read_bytes())
    metadata["parent"] = {"plan_id": "sha256:0", "steps": 1}
    (world / "rebased/metadata.json").write_text(json.dumps(metadata), "utf-8")
    assert listed() == free - {"1", "2"}


def test_a_run_that_draws_answers_keeps_its_checkpoints_for_replay(world: Path, lazarus):
    (world / "run/rollouts.jsonl").write_text('{"step":1}\n')
    assert json.loads(lazarus("cleanup", "run", "--keep-checkpoints", "1", "--json")[1])["files"] == []


def test_a_damaged_newest_checkpoint_keeps_the_last_good_one(world: Path, lazarus):
    run = world / "run"
    for name in ("latest", "best"):
        (run / "checkpoints" / name).unlink()
    (run / "metrics.jsonl").write_bytes(b"")
    weights = run / "checkpoints/step-0000004/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    assert lazarus("cleanup", "run", "--keep-checkpoints", "1", "--yes")[0] == 0
    assert steps(run) == ["3", "4"]


def test_links_are_never_followed(world: Path, lazarus):
    run = world / "run"
    (run / "checkpoints").rename(world / "disk")
    (run / "checkpoints").symlink_to(world / "disk")
    (run / "checkpoints.rewound").symlink_to(world / "disk")
    before = files(world / "disk")
    assert lazarus("cleanup", "run", "--keep-checkpoints", "1", "--yes")[0] == 0
    assert files(world / "disk") == before
    (world / "alias").symlink_to("run")
    (run / "checkpoints").unlink()
    (world / "disk").rename(run / "checkpoints")
    (run / "checkpoints.rewound").unlink()
    assert lazarus("cleanup", "alias", "--keep-checkpoints", "1", "--yes")[0] == 0
    assert (world / "alias").is_symlink() and len(steps(run)) < 4


def test_leftovers_of_killed_processes_go_and_the_only_copy_of_a_folder_stays(world: Path, lazarus):
    run, dead = world / "run", 2**22 + 1  # above the largest number of a process
    spare = [
        run / f"checkpoints/.step-0000009.{dead}.tmp",
        run / f".config.json.{dead}.tmp",
        world / f".plan.{dead}.old",
    ]
    only = world / f".gone.{dead}.old"
    (used := world / f".busy.{dead}.tmp").write_text("a")
    for each in spare[0], spare[2], only:
        each.mkdir()
        (each / "part").write_text("a" * 100)
    spare[1].write_text("half")
    with used.open() as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        code, out, _ = lazarus("cleanup", ".", "--json")
        assert code == 0 and {Path(each["path"]).name for each in json.loads(out)["files"]} == {
            each.name for each in spare
        }
        assert sum(each["bytes"] for each in json.loads(out)["files"]) == 204
        assert lazarus("cleanup", ".", "--yes")[0] == 0
    assert used.exists() and only.is_dir() and not any(each.exists() for each in spare)


def test_a_run_in_progress_is_left_alone(world: Path, lazarus):
    before = files(world)
    with (world / "run/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, out, err = lazarus("cleanup", "run", "--keep-checkpoints", "1", "--yes")
    assert (code, out) == (0, "") and "a process trains in it" in err
    assert files(world) == before


def test_checkpoints_that_a_resume_left_behind_are_spare(world: Path, lazarus):
    rewound = world / "run/checkpoints.rewound"
    rewound.mkdir()
    (world / "run/checkpoints/step-0000001").rename(rewound / "step-0000001")
    assert lazarus("cleanup", "run", "--yes")[0] == 0
    assert not rewound.exists() and steps(world / "run") == ["2", "3", "4"]
